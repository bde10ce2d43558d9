"""``PUBLISH=in_place``: the target is a plain directory, for those who must keep one.

Everything is downloaded, verified and compiled beside; then each file is renamed over its old self, new
files first, changed ones next, deletions last. Each file is whole at any moment; the tree is not, for as long
as the renames take. What the agent did not write it does not delete.

A journal of the paths that are about to change lies there meanwhile: after a crash these, and only these, are
not known, and are fetched again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from dags_agent import gate
from dags_agent.disk import read_manifest_file
from dags_agent.errors import Fenced, Skip
from dags_agent.events import Events
from dags_agent.fetch import Fetched, Fetcher
from dags_agent.in_place_tree import Tree
from dags_agent.keys import parents
from dags_agent.layout import Layout
from dags_agent.listing import Listing, Skipped, SourceObject
from dags_agent.manifest import Manifest, ManifestUnreadable, ReleasedFile, new_release_id, published_at
from dags_agent.note import NAME as NOTE, ReleaseNote, note_of, read_note
from dags_agent.order import Order, Published
from dags_agent.plan import Delta, compare, is_renamed, refuse_destruction, resolve
from dags_agent.policy import Policy
from dags_agent.releases import verifier_of
from dags_agent.removal import remove
from dags_agent.settings import DagsAgentSettings
from dags_agent.state import read_hold
from dags_agent.target import Target
from dags_agent.threads import in_thread
from dags_agent.verify import Drift
from sidecar.app import Runtime
from sidecar.errors import ConfigError
from sidecar.files import TEMPORARY, write_atomic

# Airflow walks the whole folder, hidden directories too, and takes every `.py` and zip in it for a DAG file.
# Both syntaxes of .airflowignore understand a bare name.
_AIRFLOWIGNORE = b"building\ntrash\nwriter\nleases\n"


class InPlaceMode:
    """The target as a plain directory (see :class:`dags_agent.order.Mode`)."""

    def __init__(
        self,
        settings: DagsAgentSettings,
        runtime: Runtime,
        events: Events,
        *,
        threads: Executor,
        fetcher: Callable[[], Fetcher],
        is_enough: Callable[[], bool],
    ) -> None:
        del is_enough  # nothing is put off
        self._settings = settings
        self._runtime = runtime
        self._events = events
        self._threads = threads
        self._fetcher = fetcher
        self._layout = Layout(settings.target)
        self._manifest_path = self._layout.own / "manifest.json"
        self._journal_path = self._layout.own / "journal.json"
        self._trusted: str | None = None
        self._is_blocked = False
        self._verifier = verifier_of(settings, runtime)

    @property
    def has_chores(self) -> bool:
        """Whether something of somebody else's is in the way of a file: it is looked at again."""
        return self._is_blocked

    async def do_chores(self) -> None:
        """Nothing is put off."""

    def prepare(self) -> None:
        """Make the agent's directories. Idempotent. Raises ConfigError."""
        self._layout.prepare(with_releases=False)
        ignore = self._layout.own / ".airflowignore"
        if not ignore.exists():
            write_atomic(ignore, _AIRFLOWIGNORE)

    def live(self) -> str | None:
        """Return the id of what was published last; None before, and after an interruption."""
        if self._layout.current.is_symlink():
            raise ConfigError(
                f"{str(self._settings.target)!r} is a target of PUBLISH=release",
                why="it has a pointer `current`",
                remedy="Give in_place a directory of its own, or go on with release",
            )
        manifest = self._manifest()
        return manifest.release_id if manifest and not self._journal_path.exists() else None

    def note(self) -> ReleaseNote | None:
        """Return the note of what was published last."""
        return read_note(self._layout.target)

    def preview(self, listing: Listing, policy: Policy) -> tuple[Delta, str | None]:
        """Return what a publish would change, and what is live; changes nothing. Raises Refused."""
        target = self._observe()
        listing = self._resolved(listing, target)
        delta = compare(listing, target)
        refuse_destruction(listing, delta, target, policy)
        return delta, target.live

    def is_in_step(self, listing: Listing, policy: Policy) -> str | None:
        """Return what is live when there is nothing to do. Raises Refused."""
        target = self._observe()
        listing = self._resolved(listing, target)
        delta = compare(listing, target)
        refuse_destruction(listing, delta, target, policy)
        is_same = not (delta.changed or delta.deleted or self._journal() or is_renamed(listing, target))
        if not is_same or target.live is None or self._leftovers():
            return None
        self._trusted = target.live
        return target.live

    def verify(self) -> Drift | None:
        """Hash what was published; foreign files are not ours to judge here. Raises OSError."""
        manifest = self._manifest()
        if manifest is None:
            return None
        drift = self._verifier.verify(self._layout.target, manifest)
        if drift is None:
            return None
        return Drift(release_id=drift.release_id, damaged=drift.damaged, foreign=frozenset())

    async def publish(self, order: Order) -> Published:
        """Stage what changed, then rename and delete in place (see :class:`dags_agent.order.Mode`)."""
        target = await in_thread(self._threads, self._observe)
        if order.drift is not None:
            target = Target(
                live=target.live, manifest=target.manifest, damaged=target.damaged | order.drift.damaged
            )
        self._events.looked(target)
        listing = await in_thread(self._threads, self._resolved, order.listing, target)
        self._events.skipped(listing.skipped)
        delta = compare(listing, target)
        refuse_destruction(listing, delta, target, order.policy)
        self._events.swept(await in_thread(self._threads, self._sweep))
        interrupted = await in_thread(self._threads, self._journal)
        is_same = not (delta.changed or delta.deleted or interrupted or is_renamed(listing, target))
        if target.live is not None and is_same:
            return Published(release_id=target.live)
        release_id = new_release_id(self._publish_second(target), listing.fingerprint)
        staged = self._layout.building / release_id
        try:
            began = self._runtime.clock.monotonic()
            fetched = await self._stage(order, delta, staged)
            fetch_seconds = self._runtime.clock.monotonic() - began
            manifest = self._new_manifest(release_id, order, listing, delta, fetched)
            await in_thread(self._threads, self._switch, order, manifest, delta, staged)
        finally:
            await in_thread(self._threads, remove, staged)
        return Published(
            release_id=release_id,
            delta=delta,
            previous=target.live,
            downloaded_objects=len(fetched),
            downloaded_bytes=sum(file.size_bytes for file in fetched.values()),
            fetch_seconds=fetch_seconds,
        )

    def _manifest(self) -> Manifest | None:
        try:
            return read_manifest_file(self._manifest_path)
        except (FileNotFoundError, NotADirectoryError, ManifestUnreadable):
            return None

    def _observe(self) -> Target:
        """What the journal names is not known, whatever it looks like: it counts as damaged."""
        manifest = self._manifest()
        if manifest is None:
            return Target()
        wrong = set[str]()
        if self._trusted != manifest.release_id:  # published by this process: not walked again
            tree = Tree(self._layout.target)
            wrong = {file.path for file in manifest.files if tree.size_bytes(file.path) != file.size_bytes}
        return Target(
            live=manifest.release_id,
            manifest=manifest,
            damaged=frozenset(wrong | (self._journal() & manifest.by_path.keys())),
        )

    def _resolved(self, listing: Listing, target: Target) -> Listing:
        """Leave out, too, each file in whose place is a directory that holds what is not ours.

        Found before the window: found in it, it would leave the tree half switched.
        """
        listing = resolve(listing, target)
        delta = compare(listing, target)
        paths = [item.path for item in delta.changed]
        found = Tree(self._layout.target).blocked(paths, {*delta.deleted, *self._journal()})
        skipped = [
            Skipped(
                key=item.key,
                skip=Skip.KEY_CONFLICT,
                why=f"a directory is in its place, with {found[item.path]!r} in it, which is not ours",
            )
            for item in delta.changed
            if item.path in found
        ]
        self._is_blocked = bool(skipped)
        if not skipped:
            return listing
        objects = tuple(item for item in listing.objects if item.path not in found)
        return replace(listing, objects=objects, skipped=(*listing.skipped, *skipped))

    def _journal(self) -> set[str]:
        try:
            return set(json.loads(self._journal_path.read_bytes()))
        except FileNotFoundError:
            return set()

    def _publish_second(self, target: Target) -> int:
        """Return a second later than the last publish and all files: byte code compares whole seconds."""
        now = int(self._runtime.clock.now().timestamp())
        if target.live is None:
            return now
        written = (file.mtime_seconds for file in target.manifest.files) if target.manifest else ()
        return max(now, int(published_at(target.live).timestamp()) + 1, *(second + 1 for second in written))

    async def _stage(self, order: Order, delta: Delta, staged: Path) -> dict[str, Fetched]:
        directories = sorted({parent for item in delta.changed for parent in parents(item.path)})
        await in_thread(self._threads, _make, staged, directories)
        fetched = await self._fetcher().fetch(delta.changed, staged, mtime_seconds=_second(staged.name))
        sources = [item.path for item in delta.changed if item.path.endswith(".py")]
        if order.policy.must_compile and sources:
            await gate.refuse_what_does_not_compile(
                staged, sources, timeout_seconds=self._settings.validate_timeout_seconds
            )
        return fetched

    def _new_manifest(
        self, release_id: str, order: Order, listing: Listing, delta: Delta, fetched: dict[str, Fetched]
    ) -> Manifest:
        unchanged = {file.path: file for file in delta.unchanged}
        files = [unchanged.get(item.path) or _released(item, fetched[item.path]) for item in listing.objects]
        return Manifest(
            release_id=release_id,
            source=self._settings.source,
            files=tuple(files),
            marker_etag=listing.marker.etag if listing.marker else "",
            deploy=order.deploy,
            marker_written_at=listing.marker.last_modified.isoformat() if listing.marker else "",
        )

    def _switch(self, order: Order, manifest: Manifest, delta: Delta, staged: Path) -> None:
        """The window: from the first rename to the last deletion. Nothing is read or waited for in it."""
        if read_hold(self._layout) is not None:
            raise Fenced("Nothing was published", why="a hold was placed meanwhile")
        tree = Tree(self._layout.target)
        former = self._manifest()
        known = former.by_path.keys() if former else set[str]()
        changed = sorted((item.path for item in delta.changed), key=lambda path: (path in known, path))
        orphans = self._journal() - manifest.by_path.keys()  # of an interrupted publish
        deleted = sorted({*delta.deleted, *orphans})
        touched = {*self._journal(), *changed, *deleted}
        write_atomic(self._journal_path, json.dumps(sorted(touched)).encode())
        order.fence.refuse_when_lost()
        began = self._runtime.clock.monotonic()
        names = set(changed)
        for path in deleted:
            if not names.isdisjoint(parents(path)):  # a file takes the place of its directory
                tree.delete(path)
        for path in changed:
            tree.put(staged / path, path, owner=order.owner)
        for path in deleted:
            tree.delete(path)
        self._events.window(self._runtime.clock.monotonic() - began)
        note = note_of(manifest, at=self._runtime.clock.now(), changed=len(changed), deleted=len(deleted))
        tree.sync({*changed, *deleted})
        write_atomic(self._manifest_path, manifest.to_json())
        beside = self._layout.own / "note.json"  # nothing half-written in the readers' own directory
        write_atomic(beside, note.to_json())
        beside.replace(self._layout.target / NOTE)
        self._journal_path.unlink(missing_ok=True)
        self._trusted = manifest.release_id

    def _sweep(self) -> int:
        """Remove what killed runs staged; return how many."""
        leftovers = self._leftovers()
        for path in leftovers:
            remove(path)
        return len(leftovers)

    def _leftovers(self) -> list[Path]:
        places = (self._layout.building, self._layout.trash)
        found = [path for place in places if place.is_dir() for path in place.iterdir()]
        return [*found, *self._layout.own.glob(f"{TEMPORARY}*")]


def _released(item: SourceObject, fetched: Fetched) -> ReleasedFile:
    return ReleasedFile(
        key=item.key,
        path_begins=item.path_begins,
        size_bytes=item.size_bytes,
        etag=item.etag,
        version_id=fetched.version_id,
        last_modified=item.last_modified,
        sha256=fetched.sha256,
        mtime_seconds=fetched.mtime_seconds,
    )


def _second(release_id: str) -> int:
    return int(published_at(release_id).timestamp())


def _make(staged: Path, directories: list[str]) -> None:
    staged.mkdir()
    for directory in directories:
        (staged / directory).mkdir()
