"""What feeders write, into the spool; and what happens when it is full."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.payloads import lines_payload
from log_forwarder.spool.spool import Spool, SpoolFull

_LOOK_UP_SECONDS = 0.25
_ROOM_BYTES = 256 * 1024  # then it is over for a while, and one report says it all
_REPORTS = StreamKey("forward", "log-forwarder:dropped", (("reporter", "log-forwarder"),))


class Listener(Protocol):
    """Who is told about a full spool."""

    def spool_full(self, *, is_full: bool) -> None:
        """The spool has no room; or has room again."""

    def dropped(self, *, payloads: int, dropped_bytes: int) -> None:
        """The policy dropped what was pushed."""


class SpoolWriter:
    """Appends. While the spool is full it waits, and so does what feeds us; or, if told so, it drops.

    What is dropped is counted at once, and reported as a log line of its own as soon as there is room.
    One per feeder; any thread.

    Args:
        spool: where to.
        listener: told when there is no room, and when there is again.
        on_data: called when something was appended.
        is_over: whether to give up waiting.
        drops_when_full: drop what comes while there is no room, rather than wait.
        now: the time of day, for the report.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        listener: Listener,
        on_data: Callable[[], None],
        is_over: Callable[[], bool],
        drops_when_full: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._spool = spool
        self._listener = listener
        self._on_data = on_data
        self._is_over = is_over
        self._drops_when_full = drops_when_full
        self._now = now
        self._mutex = threading.Lock()
        self._is_full = False
        self._dropped_payloads = self._dropped_bytes = 0
        self._dropped_from = self._dropped_to = ""

    def append(self, payload: bytes) -> int | None:
        """Append a payload; return the position after it, or None when it is not there.

        Then it was dropped, or there was no room until the feeder ended. It must not be acknowledged.

        Raises:
            SpoolBroken: nothing more can be appended.
        """
        while not self._is_over():
            try:
                self._report()
                end = self._spool.append(payload)
            except SpoolFull:
                self._tell(is_full=True)
                if self._drops_when_full:
                    self._drop(payload)
                    return None
                self._spool.pause(_LOOK_UP_SECONDS)
                continue
            self._tell(is_full=False)
            self._on_data()
            return end
        return None

    def _tell(self, *, is_full: bool) -> None:
        if is_full != self._is_full:
            self._is_full = is_full
            self._listener.spool_full(is_full=is_full)

    def _drop(self, payload: bytes) -> None:
        with self._mutex:
            self._dropped_to = self._now().isoformat()
            self._dropped_from = self._dropped_from or self._dropped_to
            self._dropped_payloads += 1
            self._dropped_bytes += len(payload)
        self._listener.dropped(payloads=1, dropped_bytes=len(payload))

    def _report(self) -> None:
        """Say in the log itself what is missing from it."""
        with self._mutex:
            if not self._dropped_payloads or not self._spool.wait_for_room(_ROOM_BYTES, timeout_seconds=0):
                return
            report = {
                "event": "lines_dropped",
                "level": "error",
                "payloads": self._dropped_payloads,
                "bytes": self._dropped_bytes,
                "from": self._dropped_from,
                "to": self._dropped_to,
                "why": "LOG_FORWARDER_WHEN_FULL is drop_newest and the disk budget was used up",
            }
            self._spool.append(lines_payload(_REPORTS, json.dumps(report).encode() + b"\n"))
            self._dropped_payloads = self._dropped_bytes = 0
            self._dropped_from = ""
