"""Noticing in a thread of its own, so that a new file is open before it is removed, whatever else waits.

That thread reads events, opens files and does nothing else: no state, no disk it must wait for, no lock
that anybody holds for longer than one operation on a deque. What it finds is delivered in the reading
thread. What stands between them is bounded: by descriptors for what events tell, by number for scans.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from log_forwarder.inputs.discovery import Sighting
from log_forwarder.inputs.finder import Finder, Follower, Listener
from log_forwarder.inputs.open_files import OpenFiles
from log_forwarder.waker import Waker

_MOST_NEWS = 2_000  # a scan pauses above this
_LONGEST_PAUSE_SECONDS = 1.0
_JOIN_SECONDS = 5.0
_NICENESS = -10
_SWITCH_SECONDS = 0.0005  # Python's 5 ms, at each of the ten calls that a new file takes, would be 50 ms


class Inbox:
    """What was found and not told yet. It is filled by one thread and emptied by another.

    Args:
        follower, listener: who is told, by :meth:`deliver`.
        open_files: takes back descriptors that nobody will adopt.

    Attributes:
        answers: how many scans that somebody asked for were told to their end.
    """

    def __init__(self, follower: Follower, listener: Listener, open_files: OpenFiles) -> None:
        self._follower = follower
        self._listener = listener
        self._open_files = open_files
        self._news: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._latest: dict[tuple[int, int], Sighting] = {}
        self._of_latest = threading.Lock()  # held for an operation on that dictionary, never while telling
        self._is_asked = False
        self.answers = 0

    def __len__(self) -> int:
        return len(self._news)

    def deliver(self) -> None:
        """Tell what was found until now."""
        for _ in range(len(self._news)):
            act, given = self._news.popleft()
            act(*given)

    def discard(self) -> None:
        """Let go of everything, for nobody listens any more."""
        while self._news:
            _, given = self._news.popleft()
            if given and isinstance(given[0], Sighting) and given[1] is not None:
                self._open_files.give_back(given[0], given[1])

    def sighted(self, sighting: Sighting, descriptor: int | None = None) -> None:
        """See :class:`Follower`; so do the next four. Of an open file that grows the latest is enough."""
        if descriptor is not None:
            self._news.append((self._follower.sighted, (sighting, descriptor)))
            return
        identity = (sighting.device, sighting.inode)
        with self._of_latest:
            is_waiting = identity in self._latest
            self._latest[identity] = sighting
        if not is_waiting:
            self._news.append((self._sighted, (identity,)))

    def vanished(self, path: str) -> None:
        """A name is gone."""
        self._news.append((self._follower.vanished, (path,)))

    def missed(self, path: str) -> None:
        """Something was gone before it could be opened."""
        self._news.append((self._follower.missed, (path,)))

    def begin_round(self) -> None:
        """A scan begins."""
        self._news.append((self._follower.begin_round, ()))

    def end_round(self) -> None:
        """A scan ended."""
        self._news.append((self._end_round, ()))

    def ask(self) -> None:
        """Count the scan that has just begun as an answer, once it is told to its end."""
        self._news.append((self._ask, ()))

    def events_lost(self) -> None:
        """See :class:`Listener`; so do the next two."""
        self._news.append((self._listener.events_lost, ()))

    def watching(self) -> None:
        """Events come."""
        self._news.append((self._listener.watching, ()))

    def watching_ended(self, *, why: str) -> None:
        """Events do not come any more."""
        self._news.append((lambda: self._listener.watching_ended(why=why), ()))

    def _sighted(self, identity: tuple[int, int]) -> None:
        with self._of_latest:
            sighting = self._latest.pop(identity)
        self._follower.sighted(sighting)

    def _ask(self) -> None:
        self._is_asked = True

    def _end_round(self) -> None:
        self._follower.end_round()
        self.answers += self._is_asked
        self._is_asked = False


class Scout:
    """A finder at work. All methods are for the reading thread.

    Args:
        make_finder: makes the finder that tells its follower and listener, the inbox.
        inbox: tells the reading thread's own.
        on_news: called from the thread when there is something in an inbox that was empty.
    """

    def __init__(
        self, make_finder: Callable[[Inbox], Finder], inbox: Inbox, *, on_news: Callable[[], None]
    ) -> None:
        self._make_finder = make_finder
        self._inbox = inbox
        self._on_news = on_news
        self._waker = Waker()
        self._has_news = threading.Event()
        self._is_scan_wanted = False
        self._is_closed = False
        self._crash: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="notice", daemon=True)
        self._is_started = False

    @property
    def descriptors(self) -> Sequence[int]:
        """Nothing to wait for: ``on_news`` wakes."""
        return ()

    def due_seconds(self) -> float:
        """Return how long nobody needs to look."""
        return _LONGEST_PAUSE_SECONDS

    def look(self) -> None:
        """Tell what is new; the first time, everything there is."""
        if not self._is_started:
            self.scan()
        self._deliver()

    def scan(self) -> None:
        """Tell everything there is now."""
        if self._is_closed:
            return
        answers = self._inbox.answers
        self._is_scan_wanted = True
        self._start()
        self._waker.set()
        while self._inbox.answers == answers:
            self._has_news.wait(_LONGEST_PAUSE_SECONDS)
            self._deliver()

    def close(self) -> None:
        """Look no more. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_started:
            self._waker.set()
            self._thread.join(_JOIN_SECONDS)
        self._inbox.discard()

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            self._thread.start()

    def _deliver(self) -> None:
        self._has_news.clear()
        was_full = len(self._inbox) >= _MOST_NEWS
        self._inbox.deliver()
        if was_full:
            self._waker.set()
        if self._crash is not None:
            raise self._crash

    def _work(self) -> None:
        _go_first()
        try:
            finder = self._make_finder(self._inbox)
            try:
                while not self._is_closed:
                    self._turn(finder)
            finally:
                finder.close()
        except Exception as err:  # noqa: BLE001 - the reading thread raises it
            self._crash = err
            self._tell()

    def _turn(self, finder: Finder) -> None:
        if self._is_scan_wanted:
            self._is_scan_wanted = False
            finder.begin_scan()
            self._inbox.ask()
        may_scan = len(self._inbox) < _MOST_NEWS
        finder.look(may_scan=may_scan)
        if self._inbox and not self._has_news.is_set():
            self._tell()
        pause = finder.due_seconds() if may_scan else _LONGEST_PAUSE_SECONDS
        self._waker.wait(min(pause, _LONGEST_PAUSE_SECONDS), finder.descriptors)

    def _tell(self) -> None:
        self._has_news.set()
        self._on_news()


def _go_first() -> None:
    """Let this thread have the processor, and the interpreter, before those that have time."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    with contextlib.suppress(OSError):  # it needs CAP_SYS_NICE
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
