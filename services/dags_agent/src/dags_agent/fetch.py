"""Download many objects at once; each is verified before it counts.

The length must be the listed one, and every checksum that S3 offers must agree. The SHA-256 is kept.

Files go straight to their final name in the release being built, which nobody can see yet: a temporary
name and a rename for each would cost two more round trips to EFS and gain nothing. Small objects are received
whole and written by one call in a thread, while the next ones are being received; big ones are streamed.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeVar

from dags_agent.build import Directories
from dags_agent.errors import Archived, SourceChanged
from dags_agent.listing import SourceObject
from dags_agent.newfile import NewFile, NotBefore, write_new
from dags_agent.source import Download, Source
from dags_agent.threads import in_thread
from sidecar.clock import Clock, Stop
from sidecar.errors import Transient
from sidecar.loop import backoff_seconds

T = TypeVar("T")

_ATTEMPTS = 3
_BACKOFF_BASE_SECONDS = 0.2
_BACKOFF_CAP_SECONDS = 5.0
# Up to here an object is held in memory; what waits to be written is at most this times the concurrency.
_SMALL_BYTES = 1 << 18
# One thread switch per chunk of a big one; memory is at most this times the concurrency.
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was learned about a file by downloading it."""

    sha256: str
    version_id: str | None
    size_bytes: int
    mtime_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Received:
    """A small object, verified, not yet written."""

    content: bytes
    sha256: str
    version_id: str | None


class Fetcher:
    """Downloads into a tree.

    Args:
        source: where from.
        concurrency: downloads in flight, and files being written meanwhile.
        threads: where blocking file operations run; as many threads as ``concurrency``.
    """

    def __init__(
        self,
        source: Source,
        *,
        concurrency: int,
        threads: Executor,
        clock: Clock,
        stop: Stop,
        rng: random.Random,
    ) -> None:
        self._source = source
        self._concurrency = concurrency
        self._threads = threads
        self._clock = clock
        self._stop = stop
        self._rng = rng

    async def fetch(
        self,
        objects: Sequence[SourceObject],
        root: Path,
        *,
        mtime_seconds: int,
        directories: Directories | None = None,
    ) -> dict[str, Fetched]:
        """Write each object to its path below ``root``.

        Args:
            objects: what to fetch.
            root: of the tree.
            mtime_seconds: no file's modification time is before it.
            directories: of ``root``, made meanwhile; None when they are there.

        Returns:
            What was fetched, by path.

        Raises:
            SourceChanged: an object is no longer the listed one; some files are written.
            Archived: these cannot be read now; the others are written.
            SidecarError: an object cannot be had; some files are written.
            OSError: a file cannot be written.
        """
        queue = _interleaved(objects)
        done: dict[str, Fetched] = {}
        not_before = NotBefore(second=mtime_seconds)
        room = asyncio.Semaphore(self._concurrency)

        async def ready(item: SourceObject) -> None:
            if directories is not None:
                await directories.ready(item.path.rpartition("/")[0])

        async def write(item: SourceObject, received: _Received) -> None:
            try:
                await ready(item)
                mtime = await in_thread(
                    self._threads, write_new, root / item.path, received.content, not_before
                )
            finally:
                room.release()
            done[item.path] = Fetched(
                sha256=received.sha256,
                version_id=received.version_id,
                size_bytes=len(received.content),
                mtime_seconds=mtime,
            )

        archived = set[tuple[str, str]]()

        async def work(group: asyncio.TaskGroup) -> None:
            for item in queue:
                with _collected(archived):
                    if item.size_bytes > _SMALL_BYTES:
                        await ready(item)
                        done[item.path] = await self._stream(item, root / item.path, not_before)
                        continue
                    received = await self._receive(item)
                    await room.acquire()
                    group.create_task(write(item, received))

        try:
            async with asyncio.TaskGroup() as group:
                if directories is not None:
                    directories.begin(group)
                for _ in range(min(self._concurrency, len(objects))):
                    group.create_task(work(group))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        _refuse_archived(archived)
        return done

    async def _receive(self, item: SourceObject) -> _Received:
        async def attempt() -> _Received:
            async with self._source.open(item) as download:
                content = await _read(download, item.size_bytes + 1)
                download.checksum.update(content)
                refuse_other_bytes(item, len(content), download)
            digest = hashlib.sha256(content).hexdigest()
            return _Received(content=content, sha256=digest, version_id=download.version_id)

        return await self._patiently(attempt)

    async def _stream(self, item: SourceObject, path: Path, not_before: NotBefore) -> Fetched:
        async def attempt() -> Fetched:
            async with self._source.open(item) as download:
                file = _Stream(path, download)
                try:
                    await in_thread(self._threads, file.file.create)
                    while chunk := await _read(download, _CHUNK_BYTES):
                        await in_thread(self._threads, file.take, chunk)
                        if (
                            file.size_bytes > item.size_bytes
                        ):  # however much more: the disk is not its to fill
                            break
                    refuse_other_bytes(item, file.size_bytes, download)
                    mtime = await in_thread(self._threads, file.file.finish, not_before)
                except BaseException:
                    await in_thread(self._threads, file.file.abandon)
                    raise
            return Fetched(
                sha256=file.sha256.hexdigest(),
                version_id=download.version_id,
                size_bytes=file.size_bytes,
                mtime_seconds=mtime,
            )

        return await self._patiently(attempt)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        number = 1
        while True:
            try:
                return await attempt()
            except SourceChanged:
                raise
            except Transient:
                if number == _ATTEMPTS:
                    raise
            pause = backoff_seconds(
                number, base_seconds=_BACKOFF_BASE_SECONDS, cap_seconds=_BACKOFF_CAP_SECONDS, rng=self._rng
            )
            await self._clock.wait(pause, self._stop.event)
            number += 1


class _Stream:
    """A big file, hashed in the thread that writes it."""

    def __init__(self, path: Path, download: Download) -> None:
        self.file = NewFile(path)
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0
        self._checksum = download.checksum

    def take(self, chunk: bytes) -> None:
        """Hash and append."""
        self._checksum.update(chunk)
        self.sha256.update(chunk)
        self.size_bytes += len(chunk)
        self.file.write(chunk)


@contextmanager
def _collected(archived: set[tuple[str, str]]) -> Iterator[None]:
    """Go on after an archived object: all of them are found before anything is listed again."""
    try:
        yield
    except Archived as err:
        archived.update(err.versions)


def _refuse_archived(archived: set[tuple[str, str]]) -> None:
    if archived:
        raise Archived(frozenset(archived))


async def _read(download: Download, size_bytes: int) -> bytes:
    """Return so many bytes, or what is left; a connection hands out smaller pieces as they arrive."""
    piece = await download.read(size_bytes)
    pieces = [piece]
    wanted = size_bytes - len(piece)
    while piece and wanted:
        piece = await download.read(wanted)
        pieces.append(piece)
        wanted -= len(piece)
    return b"".join(pieces)


def refuse_other_bytes(item: SourceObject, size_bytes: int, download: Download) -> None:
    """Raise Transient unless these are the listed object's bytes."""
    why = download.checksum.mismatch()
    if size_bytes != item.size_bytes:
        why = f"{size_bytes} bytes came, {item.size_bytes} are listed"
    if why:
        raise Transient(
            f"The bytes of key {item.key!r} are not the listed ones", why=why, remedy="It is read again"
        )


def _interleaved(objects: Sequence[SourceObject]) -> Iterator[SourceObject]:
    """Yield objects so that neighbours lie in different directories.

    Creating files in one directory is serial on NFS: measured 185 files/s in one, 3,600 in 64.
    """
    by_directory: dict[str, list[SourceObject]] = defaultdict(list)
    for item in objects:
        by_directory[item.path.rpartition("/")[0]].append(item)
    rounds = zip_longest(*by_directory.values())
    return (item for item in chain.from_iterable(rounds) if item is not None)
