"""Lines of a feeder into the spool, waiting for room as long as it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from log_forwarder.spool.spool import Spool, SpoolFull

_LOOK_UP_SECONDS = 0.25


class Listener(Protocol):
    """Who is told that there is no room."""

    def spool_full(self, *, is_full: bool) -> None:
        """The spool has no room and feeders wait; or has room again."""


class SpoolWriter:
    """Appends, and waits while the spool is full: what feeds us waits too, and nothing is dropped.

    Args:
        spool: where to.
        listener: told when there is no room, and when there is again.
        on_data: called when something was appended.
        is_over: whether to give up waiting.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        listener: Listener,
        on_data: Callable[[], None],
        is_over: Callable[[], bool],
    ) -> None:
        self._spool = spool
        self._listener = listener
        self._on_data = on_data
        self._is_over = is_over

    def append(self, payload: bytes) -> int | None:
        """Append a payload; return the position after it, or None when it was given up before there was room.

        Raises:
            SpoolBroken: nothing more can be appended.
        """
        was_full = False
        while not self._is_over():
            try:
                end = self._spool.append(payload)
            except SpoolFull:
                if not was_full:
                    self._listener.spool_full(is_full=True)
                was_full = True
                self._spool.pause(_LOOK_UP_SECONDS)
                continue
            if was_full:
                self._listener.spool_full(is_full=False)
            self._on_data()
            return end
        return None
