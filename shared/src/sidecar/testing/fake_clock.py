"""A clock that a test owns: waiting moves it, nothing sleeps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Passes the clock contract; an hour of waiting takes no time.

    Args:
        start: the wall-clock time it begins with (aware).
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_seconds = 0.0
        self.waits: list[float] = []

    def now(self) -> datetime:
        """Return the test's wall-clock time."""
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def monotonic(self) -> float:
        """Return the seconds this clock was moved."""
        return self._elapsed_seconds

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        self._elapsed_seconds += seconds

    async def wait(self, seconds: float, event: asyncio.Event) -> bool:
        """Move the time by ``seconds`` at once, unless ``event`` is set; let other tasks run."""
        await asyncio.sleep(0)  # noqa: TID251 - yields, does not sleep
        if not event.is_set():
            self.waits.append(seconds)
            self.advance(max(0.0, seconds))
        return event.is_set()
