"""How files are noticed: the kernel's events at once, scans for what events cannot tell.

A watch is set on a directory before it is listed, so what is made meanwhile is in the list or in the
events. Everything else that can go wrong (an overflown queue, no more watches, a file system that others
write to) ends in a scan: slower, never silent. A scan goes in slices, for new files must be opened
meanwhile; what could not be opened before it was gone is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol

from log_forwarder.inputs import inotify
from log_forwarder.inputs.discovery import Globs, Sighting
from log_forwarder.inputs.mounts import is_remote
from log_forwarder.inputs.open_files import OpenFiles
from log_forwarder.inputs.unseen import Unseen
from log_forwarder.inputs.watches import Watches

RECONCILE_SECONDS = 60.0
_POLL_SHARE = 5  # where events do not come, looking takes at most a fifth of the time
_RECONCILE_SHARE = 20
_SLICE = 512  # files and directories of a scan between two looks at the events: some milliseconds
_FRESH_NS = 10_000_000_000  # a file that changed so lately may be gone before whoever reads it comes to it
_APPEARED = inotify.CREATE | inotify.MOVED_TO


class Follower(Protocol):
    """Who is told what was found."""

    def sighted(self, sighting: Sighting, descriptor: int | None = None) -> None:
        """A file that the globs name is there; a descriptor that comes with it is the follower's to close."""

    def vanished(self, path: str) -> None:
        """Nothing, or nothing wanted, is at this path any more."""

    def missed(self, path: str) -> None:
        """A file, or a directory that may have held some, came and went before it could be opened."""

    def begin_round(self) -> None:
        """A scan of everything begins."""

    def end_round(self) -> None:
        """A scan of everything ended: what was not sighted since it began has no name any more."""


class Listener(Protocol):
    """Who is told how well we see."""

    def events_lost(self) -> None:
        """The kernel's queue of events ran over; everything is scanned."""

    def watching(self) -> None:
        """The kernel tells of new and grown files."""

    def watching_ended(self, *, why: str) -> None:
        """New and grown files are found by scans alone from now on."""


class Finder:
    """Watches, scans and opens. Used by one thread.

    Args:
        globs: what to look for.
        open_files: opens what is found, before it can be removed.
        follower: who is told what was found.
        listener: who is told how well we see.
        monotonic: the time, in seconds.
        now_ns: the time of day, to compare with files' times.
        scan_seconds: the shortest pause between scans where events do not come.
        may_watch: False to scan only.
    """

    def __init__(
        self,
        *,
        globs: Globs,
        open_files: OpenFiles,
        follower: Follower,
        listener: Listener,
        monotonic: Callable[[], float],
        now_ns: Callable[[], int],
        scan_seconds: float,
        may_watch: bool,
    ) -> None:
        self._globs = globs
        self._open_files = open_files
        self._follower = follower
        self._listener = listener
        self._monotonic = monotonic
        self._now_ns = now_ns
        self._scan_seconds = scan_seconds
        self._watches = Watches()
        self._unseen = Unseen()
        self._next_scan = self._scan_began = monotonic()
        self._scan: Iterator[None] | None = None
        self._roots: list[str] = []
        self._is_root_missing = False
        self._must_poll = not may_watch or any(is_remote(root) for root in globs.roots())
        self._inotify: inotify.Inotify | None = None
        if may_watch:
            self._begin_to_watch()

    @property
    def descriptors(self) -> list[int]:
        """The descriptor to wait for."""
        return [self._inotify.descriptor] if self._inotify else []

    @property
    def is_scanning(self) -> bool:
        """Whether a scan is under way."""
        return self._scan is not None

    def due_seconds(self) -> float:
        """Return in how many seconds a scan begins, or goes on."""
        return 0.0 if self.is_scanning else max(0.0, self._next_scan - self._monotonic())

    def look(self, *, may_scan: bool = True) -> None:
        """Take note of events, then scan for a while when it is time, if that is wanted now."""
        if self._inotify is not None:
            self._take_events(self._inotify)
        if may_scan and self.due_seconds() <= 0:
            if self._scan is None:
                self.begin_scan()
            self._go_on_scanning()

    def scan(self) -> None:
        """Look at everything now."""
        self.begin_scan()
        while self.is_scanning:
            self.look()

    def begin_scan(self) -> None:
        """Begin to look at everything; one that is under way is begun anew."""
        self._scan_began = self._monotonic()
        if self._watches.is_sparse:
            self._begin_to_watch()
        self._follower.begin_round()
        self._roots = self._globs.roots()
        self._scan = self._everything(self._roots)

    def close(self) -> None:
        """Let go of the descriptor. Idempotent."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    # ------------------------------------------------------------ scans

    def _everything(self, roots: list[str]) -> Iterator[None]:
        for root in roots:
            yield from self._walk(root, None, is_new=False)
        self._is_root_missing = not all(map(os.path.isdir, roots))

    def _go_on_scanning(self) -> None:
        scan = self._scan
        for _ in range(_SLICE):
            if scan is None or self._scan is not scan or next(scan, scan) is scan:
                break
        else:
            return
        self._scan = None
        self._follower.end_round()
        ended = self._monotonic()
        took = ended - self._scan_began
        if self._must_poll or self._is_root_missing:
            self._next_scan = ended + max(self._scan_seconds, took * _POLL_SHARE)
        else:
            self._next_scan = ended + max(RECONCILE_SECONDS, took * _RECONCILE_SHARE)

    def _walk(self, directory: str, parent: int | None, *, is_new: bool) -> Iterator[None]:
        """Watch and list a directory and what is below it, one step after the other."""
        above: list[tuple[str, int | None]] = []
        for found in self._globs.walk(directory):
            path = found.path if isinstance(found, Sighting) else found
            while above and not path.startswith(above[-1][0] + "/"):
                above.pop()
            watch = above[-1][1] if above else parent
            if isinstance(found, Sighting):
                is_there = self._sighted(found, is_new=is_new)
            else:
                own = self._watch(found, watch)
                above.append((found, own))
                is_there = own is not None
            if watch is not None:
                (self._unseen.listed if is_there else self._unseen.expect)(watch, _name(path))
            yield

    # ------------------------------------------------------------ events

    def _begin_to_watch(self) -> None:
        self.close()
        self._watches, self._unseen = Watches(), Unseen()
        try:
            self._inotify = inotify.Inotify()
            self._listener.watching()
        except OSError as err:
            self._must_poll = True
            self._listener.watching_ended(why=str(err))

    def _take_events(self, source: inotify.Inotify) -> None:
        changed: dict[tuple[int, str], None] = {}
        gone: list[int] = []  # forgotten last: what was removed in them is told under their names
        event = None
        for event in source.events():
            if event.mask & inotify.Q_OVERFLOW:
                self._listener.events_lost()
                self._unseen = Unseen()
                self.begin_scan()
            elif event.mask & inotify.IGNORED:
                gone.append(event.watch)
            elif event.name:
                self._take_note(event)
                if not event.mask & inotify.IS_DIRECTORY:
                    changed[event.watch, event.name] = None
        if event is None:
            self._unseen.settle()
        for watch, name in changed:
            self._look_at(watch, name)
        for watch in gone:
            self._drop(watch)

    def _take_note(self, event: inotify.Event) -> None:
        """See whether it is the end of what was never seen, or a directory that must be watched."""
        if self._unseen.is_lost(event):
            self._missed(event)
        if event.mask & inotify.IS_DIRECTORY and event.mask & _APPEARED:
            above = self._watches.path(event.watch)
            if above is not None:
                for _ in self._walk(f"{above}/{event.name}", event.watch, is_new=True):
                    pass

    def _look_at(self, watch: int, name: str) -> None:
        above = self._watches.path(watch)
        if above is None or not self._globs.names(path := f"{above}/{name}"):
            self._unseen.seen(watch, name)
            return
        sighting = self._globs.sight(path)
        if sighting is None:
            self._follower.vanished(path)
        elif self._sighted(sighting, is_new=True):
            self._unseen.seen(watch, name)

    def _missed(self, event: inotify.Event) -> None:
        above = self._watches.path(event.watch)
        if above is None:
            return
        path = f"{above}/{event.name}"
        is_directory = event.mask & inotify.IS_DIRECTORY
        if self._globs.leads_to(path) if is_directory else self._globs.names(path):
            self._follower.missed(path)

    def _sighted(self, sighting: Sighting, *, is_new: bool) -> bool:
        """Open a file that may be gone soon, and tell of it; return False when it is gone already."""
        descriptor = None
        if is_new or self._now_ns() - sighting.changed_ns < _FRESH_NS:
            try:
                descriptor = self._open_files.open_early(sighting)
            except FileNotFoundError:
                return False
            except OSError:
                pass  # whoever reads it tells why
        self._follower.sighted(sighting, descriptor)
        return True

    def _drop(self, watch: int) -> None:
        """Forget a directory that is gone; one that walks begin with may come back, and nothing tells."""
        if self._watches.path(watch) in self._roots:
            self._next_scan = min(self._next_scan, self._monotonic() + self._scan_seconds)
        self._watches.drop(watch)

    def _watch(self, directory: str, parent: int | None) -> int | None:
        if self._inotify is None:
            return None
        try:
            watch = self._inotify.watch(directory)
        except inotify.NoMoreWatches as err:
            if not self._must_poll:
                self._must_poll = True
                self._listener.watching_ended(why=str(err))
            return None
        except OSError:
            return None  # gone again, or not ours to read
        self._watches.put(watch, directory, parent=parent)
        return watch


def _name(path: str) -> str:
    return os.path.basename(path)  # noqa: PTH119 - a Path for each of 100,000 files costs a second
