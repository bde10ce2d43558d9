"""Time as a value that is handed in, and the order to stop, seen by coroutines and threads alike.

Only this module sleeps. Every wait ends early when the process is told to stop, so that SIGTERM is
never answered by "in thirty seconds".
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a service gets the time from. Tests hand in a clock that they own."""

    def now(self) -> datetime:
        """Return the wall-clock time (aware, UTC), for people and for AWS."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for durations and deadlines."""

    async def wait(self, seconds: float, event: asyncio.Event) -> bool:
        """Wait until ``event`` is set or ``seconds`` have passed; return whether it is set."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the wall-clock time (aware, UTC)."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock that others are handed

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()

    async def wait(self, seconds: float, event: asyncio.Event) -> bool:
        """Wait until ``event`` is set or ``seconds`` have passed; return whether it is set."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout=max(0.0, seconds))
        return event.is_set()


class Stop:
    """The order to finish. Given once, never taken back.

    Coroutines wait on :attr:`event` through the clock; threads call :meth:`wait_in_thread`.
    :meth:`request` may be called from any thread.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.reason = ""
        self._for_threads = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop whose coroutines wait on :attr:`event`."""
        self._loop = loop

    @property
    def requested(self) -> bool:
        """Whether the order was given."""
        return self._for_threads.is_set()

    def request(self, reason: str) -> None:
        """Give the order. Idempotent; the first reason is kept."""
        if not self.requested:
            self.reason = reason
        self._for_threads.set()
        if self._loop is None:
            self.event.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.event.set)

    def wait_in_thread(self, seconds: float) -> bool:
        """Block this thread until the order or ``seconds`` later; return whether it was given."""
        return self._for_threads.wait(max(0.0, seconds))
