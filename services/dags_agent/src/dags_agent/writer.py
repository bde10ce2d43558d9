"""One writer per target: a lease that the server of the file system arbitrates (docs/adr/0021).

``<own>/writer/<generation>.json``; the highest generation is the lease. It is taken by making the next file,
which only one client can do; kept by rewriting it in place; given back by saying so in it. Nothing is written
while nobody publishes. An observer judges a holder by its own clock alone: a file whose content did not
change for the lease's length has nobody behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dags_agent.errors import Fenced, StandsBy
from dags_agent.identity import Identity
from dags_agent.layout import Layout
from dags_agent.threads import in_thread
from sidecar.clock import Clock, Stop
from sidecar.files import TEMPORARY

T = TypeVar("T")

_DIGITS = 12
# Old generations stay for a while: a holder that slept through them must not make "its next" again.
_GENERATIONS_KEPT = 16
_BEATS_PER_LEASE = 5
# A holder believes in its own lease for less long than observers wait before they take it.
_BELIEVED = 0.6
_FILE_BYTES = 512


@dataclass(frozen=True, slots=True)
class _Seen:
    """The lease as it was first seen with this content, and when by our own clock."""

    name: str
    content: bytes
    at_seconds: float


class WriterLease:
    """Takes, keeps and gives back the right to publish. One per process.

    Args:
        lease_seconds: how long a silent holder is waited for.
    """

    def __init__(self, layout: Layout, *, lease_seconds: float, clock: Clock, stop: Stop) -> None:
        self._layout = layout
        self._seconds = lease_seconds
        self._clock = clock
        self._stop = stop
        self._me = Identity.mine()
        self._seen: _Seen | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")

    def close(self) -> None:
        """Start no more file operations."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def while_held(self, act: Callable[[Fence], Awaitable[T]]) -> T:
        """Return ``await act(fence)``, being the only writer meanwhile.

        Waits for a silent holder until the lease is over; ends at once when the holder lives.

        Raises:
            StandsBy: another agent is publishing, and lives; or we are told to stop.
            OSError: the file system refused.
        """
        fence = await self._claimed()
        beating = threading.Thread(target=fence.beat_until_released, name="heartbeat", daemon=True)
        beating.start()
        try:
            return await act(fence)
        finally:
            await in_thread(self._thread, fence.release)

    async def _claimed(self) -> Fence:
        while True:
            fence = await in_thread(self._thread, self.try_claim)
            if fence is not None:
                return fence
            if await self._clock.wait(self._seconds / _BEATS_PER_LEASE, self._stop.event):
                raise self._stands_by()

    def claim_in_thread(self) -> Fence:
        """Do what :meth:`while_held` does at its beginning, for a command without an event loop.

        The caller releases the fence, and is done long before the lease is over.

        Raises:
            StandsBy: another agent is publishing.
            OSError: the file system refused.
        """
        while (fence := self.try_claim()) is None:
            if self._stop.wait_in_thread(self._seconds / _BEATS_PER_LEASE):
                raise self._stands_by()
        return fence

    def try_claim(self) -> Fence | None:
        """Take the lease if it is free or its holder is known to be gone; None when that is not known yet.

        Raises:
            StandsBy: its holder lives.
        """
        directory = self._layout.writer
        directory.mkdir(exist_ok=True)
        names = _generations(directory)
        if names and not self._is_free(directory, names[-1]):
            return None
        generation = int(names[-1].partition(".")[0]) + 1 if names else 1
        path = directory / _name(generation)
        if not _made(path, self._content(0, released=False)):
            return None
        self._seen = None
        for name in names[:-_GENERATIONS_KEPT]:
            with contextlib.suppress(OSError):
                (directory / name).unlink()
        return Fence(
            path,
            self._content,
            believed_seconds=_BELIEVED * self._seconds,
            beat_seconds=self._seconds / _BEATS_PER_LEASE,
            clock=self._clock,
        )

    def _is_free(self, directory: Path, name: str) -> bool:
        try:
            content = (directory / name).read_bytes()
        except FileNotFoundError:
            return False  # swept meanwhile: look again
        holder = _parsed(content)
        if holder.get("released") is True:
            return True
        identity = Identity.from_json(holder.get("holder"))
        if identity == self._me or identity.is_gone():  # ours: giving it back had failed
            return True
        now = self._clock.monotonic()
        if self._seen is None or (self._seen.name, self._seen.content) != (name, content):
            is_alive = self._seen is not None  # it changed under our eyes
            self._seen = _Seen(name, content, now)
            if is_alive:
                raise self._stands_by()
            return False
        return now - self._seen.at_seconds >= self._seconds

    def _content(self, beat: int, *, released: bool) -> bytes:
        """Return a text of always the same length: it is rewritten in place, by one write."""
        document = {"holder": self._me.to_json(), "beat": beat, "released": released}
        return json.dumps(document).encode().ljust(_FILE_BYTES - 1) + b"\n"

    def _stands_by(self) -> StandsBy:
        return StandsBy(
            f"Another dags-agent is publishing into {str(self._layout.target)!r}",
            why="it holds the writer's lease",
            remedy="This one stands by, and takes over when the other is silent; run one agent per target",
        )


class Fence:
    """A lease that is held, as long as nobody took it.

    A holder that was frozen and wakes up late must not publish: :meth:`refuse_when_lost` asks the server,
    not a cache, by making the next generation's file itself.
    """

    def __init__(
        self,
        path: Path,
        content: Callable[..., bytes],
        *,
        believed_seconds: float,
        beat_seconds: float,
        clock: Clock,
    ) -> None:
        self._path = path
        self._content = content
        self._believed_seconds = believed_seconds
        self._beat_seconds = beat_seconds
        self._clock = clock
        self._beat_at = clock.monotonic()
        self._beat = 0
        self._released = threading.Event()
        self._lock = threading.Lock()

    def refuse_when_lost(self) -> None:
        """Return when we are the writer at this moment.

        Raises:
            Fenced: somebody else took the lease, or may have; nothing may be switched.
            OSError: the file system refused.
        """
        with self._lock:
            silent_seconds = self._clock.monotonic() - self._beat_at
            following = self._path.with_name(_name(int(self._path.stem) + 1))
            if silent_seconds > self._believed_seconds:
                raise _lost(f"nothing could be written to it for {silent_seconds:.0f} s")
            if not _made(following, self._content(self._beat + 1, released=False)):
                raise _lost("somebody else took it")
            former, self._path = self._path, following
            if _generations(self._path.parent)[-1] != self._path.name:
                raise _lost("somebody else took it")
            self._beat_at = self._clock.monotonic()
            self._beat += 1
            with contextlib.suppress(OSError):
                _rewrite(former, self._content(self._beat, released=True))

    def beat_until_released(self) -> None:
        """Show life, from a thread of its own: a blocked event loop or a full pool loses no lease."""
        while not self._released.wait(self._beat_seconds):
            with contextlib.suppress(OSError), self._lock:
                if not self._released.is_set():
                    self._beat += 1
                    _rewrite(self._path, self._content(self._beat, released=False))
                    self._beat_at = self._clock.monotonic()

    def release(self) -> None:
        """Give the lease back. Idempotent. What cannot be written is left to the observers' clocks."""
        self._released.set()
        with contextlib.suppress(OSError), self._lock:
            _rewrite(self._path, self._content(self._beat, released=True))


@contextlib.contextmanager
def held_in_thread(lease: WriterLease) -> Iterator[Fence]:
    """Be the writer for a command without an event loop (see :meth:`WriterLease.claim_in_thread`)."""
    fence = lease.claim_in_thread()
    try:
        yield fence
    finally:
        fence.release()
        lease.close()


def _made(path: Path, content: bytes) -> bool:
    """Make a whole file under a name that nobody has; return False when somebody was first.

    ``link`` is decided by the server of an NFS mount, as is O_EXCL, but with the content already in it.
    """
    temporary = path.parent.parent / f"{TEMPORARY}{secrets.token_hex(6)}-writer"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, path, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError):  # taken, or our temporary file was swept as a leftover
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _rewrite(path: Path, content: bytes) -> None:
    """Write in place: a rename hides behind an NFS client's cached name, opening revalidates content."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, content, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _generations(directory: Path) -> list[str]:
    names = (path.name for path in directory.iterdir())
    return sorted(name for name in names if name.endswith(".json") and name[:_DIGITS].isdigit())


def _name(generation: int) -> str:
    return f"{generation:0{_DIGITS}d}.json"


def _parsed(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _lost(why: str) -> Fenced:
    return Fenced(
        "The release was not published",
        why=f"the writer's lease is lost: {why}",
        remedy="It is looked at again; run one agent per target",
    )
