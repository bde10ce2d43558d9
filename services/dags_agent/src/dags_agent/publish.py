"""Do the steps of a plan to a real directory. Each may be stopped at any point, by kill -9 too."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dags_agent import gate
from dags_agent.ahead import Alignment, align
from dags_agent.build import Directories, in_parallel, share
from dags_agent.disk import read_manifest
from dags_agent.errors import Fenced
from dags_agent.fetch import Fetched, Fetcher
from dags_agent.layout import Layout
from dags_agent.listing import SourceObject
from dags_agent.manifest import Manifest, ReleasedFile
from dags_agent.newfile import make_durable
from dags_agent.note import NAME as NOTE, note_of
from dags_agent.ownership import Owner
from dags_agent.removal import is_real_directory, remove
from dags_agent.retire import Retirement
from dags_agent.state import read_hold, write_superseded
from dags_agent.steps import (
    CompileFiles,
    Discard,
    FetchFiles,
    LinkFiles,
    MakeDirectories,
    Prepare,
    Record,
    Retire,
    Seal,
    Step,
    Sweep,
    Switch,
)
from dags_agent.threads import in_thread
from dags_agent.writer import Fence
from sidecar.clock import Clock
from sidecar.files import fsync_directory, write_atomic

T = TypeVar("T")


@dataclass(slots=True)
class _Build:
    """What the steps of one release learn from each other."""

    linked: dict[str, ReleasedFile] = field(default_factory=dict)
    unlinkable: list[SourceObject] = field(default_factory=list)
    fetched: dict[str, Fetched] = field(default_factory=dict)
    mtime_seconds: int = 0
    directories: tuple[str, ...] = ()
    is_ahead: bool = False


class Publisher:
    """Applies steps. One per pass.

    Args:
        source: the URL that the manifests name.
        threads: where blocking file operations run.
        owner: who new files and directories are handed to; None leaves them this process's.
        fence: asked just before ``current`` moves.
        gate_timeout_seconds: for compiling what changed.
        is_enough: asked by the chores at the end of a plan; once true, what is left of them is left.

    Attributes:
        retirement: of old releases and leftovers.
        has_time: false once the trash was not emptied because it was enough.
    """

    def __init__(
        self,
        layout: Layout,
        fetcher: Fetcher,
        *,
        source: str,
        threads: Executor,
        clock: Clock,
        owner: Owner | None,
        fence: Fence,
        gate_timeout_seconds: float,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self._layout = layout
        self._fetcher = fetcher
        self._source = source
        self._threads = threads
        self._clock = clock
        self._owner = owner
        self._fence = fence
        self._gate_timeout_seconds = gate_timeout_seconds
        self._is_enough = is_enough
        self._fetch_seconds = 0.0
        self._build = _Build()
        self.retirement = Retirement(layout, threads=threads, clock=clock)
        self.has_time = True

    @property
    def downloaded_objects(self) -> int:
        """How many objects this pass downloaded."""
        return len(self._build.fetched)

    @property
    def downloaded_bytes(self) -> int:
        """How many bytes this pass downloaded."""
        return sum(fetched.size_bytes for fetched in self._build.fetched.values())

    @property
    def fetch_seconds(self) -> float:
        """How long the downloads of this pass took."""
        return self._fetch_seconds

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
                is_ahead = await self._in_thread(self._begin, step)
                self._build = _Build(directories=step.directories, is_ahead=is_ahead)
            case LinkFiles():
                await self._link(step)
            case FetchFiles():
                await self._fetch(step)
            case CompileFiles():
                await gate.refuse_what_does_not_compile(
                    self._tree(step.release_id), step.paths, timeout_seconds=self._gate_timeout_seconds
                )
            case Seal():
                await self._in_thread(self._seal, step)
            case Switch():
                await self._in_thread(self._switch, step)
            case Record():
                await self._in_thread(write_superseded, self._layout, step.superseded)
            case Retire() | Discard() | Prepare() | Sweep():
                await self._tidy(step)

    async def _tidy(self, step: Retire | Discard | Prepare | Sweep) -> None:
        match step:
            case Retire():
                self.retirement.retired += await self._in_thread(self.retirement.retire, step.release_id)
            case Discard():
                await self._in_thread(self.retirement.discard, step.leftover)
            case Prepare():
                await self._prepare(step.live)
            case Sweep():
                self.has_time = await self.retirement.sweep(self._is_enough)

    async def abandon(self, release_id: str) -> None:
        """Get what was built of a release that did not become live out of the way. Idempotent."""
        await self._in_thread(self.retirement.abandon, self._tree(release_id))
        await self._in_thread(self.retirement.retire, release_id)

    async def _in_thread(self, act: Callable[..., T], *arguments: object) -> T:
        return await in_thread(self._threads, act, *arguments)

    def _tree(self, release_id: str) -> Path:
        return self._layout.building / release_id

    def _begin(self, step: MakeDirectories) -> bool:
        """Take the links made ahead for this tree, where there are any; return whether."""
        tree = self._tree(step.release_id)
        if step.ahead is not None:
            with contextlib.suppress(FileNotFoundError):
                (self._layout.ahead / step.ahead).rename(tree)
                if is_real_directory(tree):
                    return True
                remove(tree)  # somebody planted it
        self._make_directory(tree)
        return False

    def _make_directory(self, path: Path) -> None:
        path.mkdir()
        self._take(path)

    def _take(self, path: Path) -> None:
        if self._owner is not None:
            self._owner.take(path)

    async def _link(self, step: LinkFiles) -> None:
        old, new = self._layout.release(step.predecessor), self._tree(step.release_id)
        if self._build.is_ahead:
            directories, self._build.directories = self._build.directories, ()
            alignment = Alignment(live=old, tree=new, make=self._make_directory, take=self._take)
            shared = await align(self._threads, alignment, step.files, directories)
        else:
            shared = await share(self._threads, old, new, step.files, self._directories(new), take=self._take)
        for file in step.files:
            if shared[file.path]:
                self._build.linked[file.path] = file
            else:
                self._build.unlinkable.append(_as_object(file))

    async def _prepare(self, live: str) -> None:
        """Make the links; what fails here fails nobody: the next release makes its own."""
        tree = self._layout.ahead / live
        with self.retirement.garbage(tree):
            await self._in_thread(self._abandon_other_links, live)
            manifest = await self._in_thread(read_manifest, self._layout, live)
            if not await self._in_thread(is_real_directory, tree):
                await self._in_thread(remove, tree)  # a link that somebody planted: never aligned through
                await self._in_thread(self._make_directory, tree)
            alignment = Alignment(
                live=self._layout.release(live),
                tree=tree,
                make=self._make_directory,
                take=self._take,
                is_enough=self._is_enough,
            )
            await align(self._threads, alignment, manifest.files, manifest.directories)

    def _abandon_other_links(self, live: str) -> None:
        """Another process may have made some for the release before, by other settings."""
        for path in self._layout.ahead.iterdir():
            if path.name != live:
                self.retirement.abandon(path)

    def _directories(self, tree: Path) -> Directories:
        """Return those that are still to be made: the first step that puts files into them makes them."""
        names, self._build.directories = self._build.directories, ()
        return Directories(self._threads, self._make_directory, tree, names)

    async def _fetch(self, step: FetchFiles) -> None:
        began = self._clock.monotonic()
        self._build.mtime_seconds = step.mtime_seconds
        tree = self._tree(step.release_id)
        self._build.fetched = await self._fetcher.fetch(
            (*step.objects, *self._build.unlinkable),
            tree,
            mtime_seconds=step.mtime_seconds,
            directories=self._directories(tree),
        )
        self._fetch_seconds = self._clock.monotonic() - began
        if self._owner is not None:
            paths = [self._tree(step.release_id) / path for path in self._build.fetched]
            await in_parallel(self._threads, self._owner.take, paths)

    def _seal(self, step: Seal) -> None:
        """The manifest is written before the tree gets its name: what lies in ``releases`` is whole."""
        tree = self._tree(step.release_id)
        manifest = self._manifest(step)
        self._write_note(tree, manifest, deleted=step.deleted)
        make_durable(tree)
        write_atomic(self._layout.manifest(step.release_id), manifest.to_json())
        tree.rename(self._layout.release(step.release_id))
        fsync_directory(self._layout.releases)
        fsync_directory(self._layout.building)

    def _write_note(self, tree: Path, manifest: Manifest, *, deleted: int) -> None:
        note = note_of(manifest, at=self._clock.now(), changed=len(self._build.fetched), deleted=deleted)
        path = tree / NOTE
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(note.to_json())
            os.utime(file.fileno(), (self._build.mtime_seconds, self._build.mtime_seconds))
            file.flush()
            os.fsync(file.fileno())
        if self._owner is not None:
            self._owner.take(path)

    def _manifest(self, step: Seal) -> Manifest:
        files = []
        for item in step.listing.objects:
            file = self._build.linked.get(item.path)
            if file is None:
                fetched = self._build.fetched[item.path]
                file = ReleasedFile(
                    key=item.key,
                    path_begins=item.path_begins,
                    size_bytes=item.size_bytes,
                    etag=item.etag,
                    version_id=fetched.version_id,
                    last_modified=item.last_modified,
                    sha256=fetched.sha256,
                    mtime_seconds=fetched.mtime_seconds,
                )
            files.append(file)
        marker = step.listing.marker
        return Manifest(
            release_id=step.release_id,
            source=self._source,
            files=tuple(files),
            marker_etag=marker.etag if marker else "",
            deploy=step.deploy,
            marker_written_at=marker.last_modified.isoformat() if marker else "",
        )

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
        self._fence.refuse_when_lost()
        self._layout.point_current_at(step.release_id)


def _as_object(file: ReleasedFile) -> SourceObject:
    return SourceObject(
        key=file.key,
        path_begins=file.path_begins,
        size_bytes=file.size_bytes,
        etag=file.etag,
        last_modified=file.last_modified,
    )
