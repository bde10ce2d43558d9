"""Do the steps of a plan to a real directory. Each may be stopped at any point, by kill -9 too."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

from dags_agent import gate
from dags_agent.errors import Fenced
from dags_agent.fetch import Fetched, Fetcher
from dags_agent.layout import Layout
from dags_agent.listing import Listing, SourceObject
from dags_agent.manifest import Manifest, ReleasedFile
from dags_agent.plan import (
    CompileFiles,
    Discard,
    FetchFiles,
    Leftover,
    LinkFiles,
    MakeDirectories,
    Place,
    Record,
    Retire,
    Seal,
    Step,
    Switch,
)
from dags_agent.state import read_hold, write_superseded
from dags_agent.threads import in_thread
from sidecar.files import fsync_directory, write_atomic

T = TypeVar("T")

# EFS allows 177 hard links per file; the margin is for tools that link too.
# https://docs.aws.amazon.com/efs/latest/ug/limits.html
_LINKS_MAX = 170
_CANNOT_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)


@dataclass(slots=True)
class _Build:
    """What the steps of one release learn from each other."""

    linked: dict[str, ReleasedFile] = field(default_factory=dict)
    unlinkable: list[SourceObject] = field(default_factory=list)
    fetched: dict[str, Fetched] = field(default_factory=dict)
    mtime_seconds: int = 0


class Publisher:
    """Applies steps. One per pass.

    Args:
        source: the URL that the manifests name.
        threads: where blocking file operations run.
    """

    def __init__(self, layout: Layout, fetcher: Fetcher, *, source: str, threads: Executor) -> None:
        self._layout = layout
        self._fetcher = fetcher
        self._source = source
        self._threads = threads
        self._build = _Build()
        self._leftovers_removed = 0
        self._not_removed: dict[Path, OSError] = {}

    @property
    def leftovers_removed(self) -> int:
        """How many leftovers of killed runs this pass removed."""
        return self._leftovers_removed

    @property
    def not_removed(self) -> Mapping[Path, OSError]:
        """What the file system refused to remove, and why: garbage, which a later pass tries again."""
        return self._not_removed

    @property
    def downloaded_objects(self) -> int:
        """How many objects this pass downloaded."""
        return len(self._build.fetched)

    @property
    def downloaded_bytes(self) -> int:
        """How many bytes this pass downloaded."""
        return sum(fetched.size_bytes for fetched in self._build.fetched.values())

    async def apply(self, step: Step) -> None:
        """Do one step.

        Raises:
            Refused: the candidate does not pass the gate.
            Fenced: somebody else moved ``current``, or placed a hold; nothing was switched.
            SidecarError: an object cannot be had.
            OSError: the file system refused.
        """
        match step:
            case MakeDirectories():
                self._build = _Build()
                await self._in_thread(self._make_directories, step)
            case LinkFiles():
                await self._link(step)
            case FetchFiles():
                await self._fetch(step)
            case CompileFiles():
                await self._in_thread(
                    gate.refuse_what_does_not_compile, self._tree(step.release_id), step.paths
                )
            case Seal():
                await self._in_thread(self._seal, step)
            case Switch():
                await self._in_thread(self._switch, step)
            case Record():
                await self._in_thread(write_superseded, self._layout, step.superseded)
            case Retire():
                await self._in_thread(self._retire, step.release_id)
            case Discard():
                await self._in_thread(self._discard, step.leftover)

    async def abandon(self, release_id: str) -> None:
        """Remove what was built of a release that did not become live. Idempotent."""
        await self._in_thread(self._abandon, release_id)

    async def _in_thread(self, act: Callable[..., T], *arguments: object) -> T:
        return await in_thread(self._threads, act, *arguments)

    def _tree(self, release_id: str) -> Path:
        return self._layout.building / release_id

    def _make_directories(self, step: MakeDirectories) -> None:
        tree = self._tree(step.release_id)
        tree.mkdir()
        for directory in step.directories:
            (tree / directory).mkdir()

    async def _link(self, step: LinkFiles) -> None:
        """Link in as many threads as there are: on EFS each link is a round trip."""
        old, new = self._layout.release(step.predecessor), self._tree(step.release_id)
        try:
            async with asyncio.TaskGroup() as group:
                shared = [
                    group.create_task(self._in_thread(_share, old / file.path, new / file.path, file))
                    for file in step.files
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        for file, is_shared in zip(step.files, shared, strict=True):
            if is_shared.result():
                self._build.linked[file.path] = file
            else:
                self._build.unlinkable.append(_as_object(file))

    async def _fetch(self, step: FetchFiles) -> None:
        self._build.mtime_seconds = step.mtime_seconds
        self._build.fetched = await self._fetcher.fetch(
            (*step.objects, *self._build.unlinkable),
            self._tree(step.release_id),
            mtime_seconds=step.mtime_seconds,
        )

    def _seal(self, step: Seal) -> None:
        """The manifest is written before the tree gets its name: what lies in ``releases`` is whole."""
        tree = self._tree(step.release_id)
        for directory, _, _ in os.walk(tree, topdown=False):
            fsync_directory(Path(directory))
        manifest = self._manifest(step.release_id, step.listing)
        write_atomic(self._layout.manifest(step.release_id), manifest.to_json())
        tree.rename(self._layout.release(step.release_id))
        fsync_directory(self._layout.releases)
        fsync_directory(self._layout.building)

    def _manifest(self, release_id: str, listing: Listing) -> Manifest:
        files = []
        for item in listing.objects:
            file = self._build.linked.get(item.path)
            if file is None:
                fetched = self._build.fetched[item.path]
                file = ReleasedFile(
                    key=item.key,
                    path=item.path,
                    size_bytes=item.size_bytes,
                    etag=item.etag,
                    version_id=fetched.version_id,
                    last_modified=item.last_modified,
                    sha256=fetched.sha256,
                    mtime_seconds=self._build.mtime_seconds,
                )
            files.append(file)
        return Manifest(release_id=release_id, source=self._source, files=tuple(files))

    def _switch(self, step: Switch) -> None:
        """Fence, then move the pointer: an old writer that wakes up late finds that the world went on."""
        live = self._layout.live()
        if live == step.release_id:
            return
        if live != step.predecessor:
            raise Fenced(
                f"Release {step.release_id} was not published",
                why=f"`current` moved from {step.predecessor} to {live} meanwhile",
                remedy="It is looked at again; run one agent per target",
            )
        if read_hold(self._layout) is not None:
            raise Fenced(
                f"Release {step.release_id} was not published", why="a rollback placed a hold meanwhile"
            )
        self._layout.point_current_at(step.release_id)

    def _retire(self, release_id: str) -> None:
        """Out of sight by one rename; deleting takes a round trip per file on EFS."""
        if self._layout.live() == release_id:
            return
        trash = self._layout.trash / f"{release_id}-{secrets.token_hex(4)}"
        with self._garbage(self._layout.release(release_id)):
            with contextlib.suppress(FileNotFoundError):
                self._layout.release(release_id).rename(trash)
            self._layout.manifest(release_id).unlink(missing_ok=True)
        with self._garbage(trash):
            _remove(trash)

    def _discard(self, leftover: Leftover) -> None:
        places = {
            Place.BUILDING: self._layout.building,
            Place.TRASH: self._layout.trash,
            Place.RELEASES: self._layout.releases,
            Place.OWN: self._layout.own,
        }
        path = places[leftover.place] / leftover.name
        with self._garbage(path):
            _remove(path)
            self._leftovers_removed += 1

    def _abandon(self, release_id: str) -> None:
        tree = self._tree(release_id)
        with self._garbage(tree):
            _remove(tree)
        self._retire(release_id)

    @contextlib.contextmanager
    def _garbage(self, path: Path) -> Iterator[None]:
        """Note what cannot be removed, and go on: garbage never stands between S3 and the readers.

        A reader of another user with a writable mount leaves byte code that this process may not delete.
        """
        try:
            yield
        except OSError as err:
            self._not_removed[path] = err


def _share(old: Path, new: Path, file: ReleasedFile) -> bool:
    """Give ``new`` the bytes and the time of ``old``; return False if ``old`` is not as recorded."""
    try:
        status = old.lstat()
    except FileNotFoundError:
        return False
    if not S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
        return False
    if status.st_nlink < _LINKS_MAX:
        try:
            os.link(old, new, follow_symlinks=False)
        except OSError as err:
            if err.errno not in _CANNOT_LINK:
                raise
        else:
            return True
    shutil.copyfile(old, new, follow_symlinks=False)
    descriptor = os.open(new, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.utime(descriptor, (file.mtime_seconds, file.mtime_seconds))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _as_object(file: ReleasedFile) -> SourceObject:
    return SourceObject(
        key=file.key,
        path=file.path,
        size_bytes=file.size_bytes,
        etag=file.etag,
        last_modified=file.last_modified,
    )


def _remove(path: Path) -> None:
    """Remove a tree, a file or a symlink, never what a symlink points to. Idempotent."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
