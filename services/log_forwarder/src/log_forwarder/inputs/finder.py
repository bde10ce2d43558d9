"""How files are noticed: the kernel's events at once, scans for what events cannot tell.

A watch is set on a directory before it is listed, so what is made meanwhile is in the list or in the
events. Everything else that can go wrong (an overflown queue, no more watches, a file system that others
write to) ends in a scan: slower, never silent.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from log_forwarder.inputs import inotify
from log_forwarder.inputs.discovery import Globs, Sighting
from log_forwarder.inputs.mounts import is_remote
from log_forwarder.inputs.watches import Watches

RECONCILE_SECONDS = 60.0
_POLL_SHARE = 5  # where events do not come, looking takes at most a fifth of the time
_RECONCILE_SHARE = 20
_APPEARED = inotify.CREATE | inotify.MOVED_TO
_GONE = inotify.DELETE_SELF | inotify.IGNORED


class Follower(Protocol):
    """Who is told what was found."""

    def sighted(self, sighting: Sighting) -> None:
        """A file that the globs name is there."""

    def vanished(self, path: str) -> None:
        """Nothing, or nothing wanted, is at this path any more."""

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
    """Watches and scans. Used by one thread.

    Args:
        globs: what to look for.
        follower: who is told what was found.
        listener: who is told how well we see.
        monotonic: the time, in seconds.
        scan_seconds: the shortest pause between scans where events do not come.
        may_watch: False to scan only.
    """

    def __init__(
        self,
        *,
        globs: Globs,
        follower: Follower,
        listener: Listener,
        monotonic: Callable[[], float],
        scan_seconds: float,
        may_watch: bool,
    ) -> None:
        self._globs = globs
        self._follower = follower
        self._listener = listener
        self._monotonic = monotonic
        self._scan_seconds = scan_seconds
        self._watches = Watches()
        self._next_scan = monotonic()
        self._is_root_missing = False
        self._must_poll = not may_watch or any(is_remote(root) for root in globs.roots())
        self._inotify: inotify.Inotify | None = None
        if may_watch:
            self._begin_to_watch()

    @property
    def descriptors(self) -> list[int]:
        """The descriptor to wait for."""
        return [self._inotify.descriptor] if self._inotify else []

    def due_seconds(self) -> float:
        """Return in how many seconds the next scan is due."""
        return max(0.0, self._next_scan - self._monotonic())

    def look(self) -> None:
        """Take note of events, and scan when it is time."""
        if self._monotonic() >= self._next_scan:
            self.scan()
        elif self._inotify is not None:
            self._take_events(self._inotify)

    def scan(self) -> None:
        """Look at everything now."""
        started = self._monotonic()
        if self._watches.is_sparse:
            self._begin_to_watch()
        for _ in self._inotify.events() if self._inotify else ():
            pass  # the scan sees what they speak of; what comes during the scan is kept by the kernel
        self._follower.begin_round()
        roots = self._globs.roots()
        for root in roots:
            self._walk(root, None)
        self._follower.end_round()
        self._is_root_missing = not all(map(os.path.isdir, roots))
        ended = self._monotonic()
        if self._must_poll or self._is_root_missing:
            pause = max(self._scan_seconds, (ended - started) * _POLL_SHARE)
        else:
            pause = max(RECONCILE_SECONDS, (ended - started) * _RECONCILE_SHARE)
        self._next_scan = ended + pause

    def close(self) -> None:
        """Let go of the descriptor. Idempotent."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _begin_to_watch(self) -> None:
        self.close()
        self._watches = Watches()
        try:
            self._inotify = inotify.Inotify()
            self._listener.watching()
        except OSError as err:
            self._must_poll = True
            self._listener.watching_ended(why=str(err))

    def _take_events(self, source: inotify.Inotify) -> None:
        changed: dict[tuple[int, str], None] = {}
        gone: list[int] = []  # forgotten last: what was removed in them is told under their names
        for event in source.events():
            if event.mask & inotify.Q_OVERFLOW:
                self._listener.events_lost()
                self.scan()
                return
            if event.mask & _GONE:
                if event.mask & inotify.IGNORED:
                    gone.append(event.watch)
            elif not event.mask & inotify.IS_DIRECTORY:
                changed[event.watch, event.name] = None
            elif event.mask & _APPEARED and (above := self._watches.path(event.watch)) is not None:
                self._walk(f"{above}/{event.name}", event.watch)
        for watch, name in changed:
            self._look_at(watch, name)
        for watch in gone:
            self._drop(watch)

    def _look_at(self, watch: int, name: str) -> None:
        above = self._watches.path(watch)
        if above is None or not self._globs.names(path := f"{above}/{name}"):
            return
        sighting = self._globs.sight(path)
        if sighting is not None:
            self._follower.sighted(sighting)
        else:
            self._follower.vanished(path)

    def _drop(self, watch: int) -> None:
        """Forget a directory that is gone; one that walks begin with may come back, and nothing tells."""
        if self._watches.path(watch) in self._globs.roots():
            self._next_scan = min(self._next_scan, self._monotonic() + self._scan_seconds)
        self._watches.drop(watch)

    def _walk(self, directory: str, parent: int | None) -> None:
        """Watch and list a directory and what is below it."""
        above: list[tuple[str, int | None]] = []
        for found in self._globs.walk(directory):
            if isinstance(found, Sighting):
                self._follower.sighted(found)
                continue
            while above and not found.startswith(above[-1][0] + "/"):
                above.pop()
            above.append((found, self._watch(found, above[-1][1] if above else parent)))

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
