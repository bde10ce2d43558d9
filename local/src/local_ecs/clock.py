"""Where the engine gets the time from: the machine, or a test that owns the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

A_DAY = datetime(2026, 1, 1, tzinfo=UTC)  # where virtual time begins unless told otherwise


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """Return the time (aware, UTC)."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time (aware, UTC)."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock that others are handed


class VirtualClock:
    """Time that stands still until it is told to move."""

    def __init__(self, start: datetime = A_DAY) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the time (aware, UTC)."""
        return self._now

    def move_to(self, moment: datetime) -> None:
        """Move on to ``moment``; a moment in the past changes nothing, for time never goes back."""
        self._now = max(self._now, moment)

    def move(self, seconds: float) -> None:
        """Move on by ``seconds``."""
        self.move_to(self._now + timedelta(seconds=seconds))
