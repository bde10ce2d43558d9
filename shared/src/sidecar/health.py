"""Health is freshness: alive = the event loop turned lately; ready = the last success is young enough."""

from __future__ import annotations

from sidecar.clock import Clock

_ALIVE_SECONDS = 30.0  # the loop beats each second; a stall this long is a hang, not a slow call


class Health:
    """When the loop last turned and the work last succeeded. Safe to read from another thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beat = clock.monotonic()
        self._success: float | None = None
        self._ready_for_seconds: float | None = None
        self._not_ready = "no success yet"
        self._note = ""

    def ready_when_fresher_than(self, seconds: float) -> None:
        """Count as ready while the last success is younger than this (usually three periods)."""
        self._ready_for_seconds = seconds

    def beat(self) -> None:
        """Say that the event loop turns."""
        self._beat = self._clock.monotonic()

    def succeeded(self) -> None:
        """Say that the work succeeded."""
        self._success = self._clock.monotonic()

    def not_ready(self, why: str) -> None:
        """Take readiness back until the next success, for example when data is held back."""
        self._success = None
        self._not_ready = why

    def note(self, text: str) -> None:
        """Add a sentence to what readiness says, ready or not, until the next call; "" takes it away."""
        self._note = f"; {text}" if text else ""

    def alive(self) -> tuple[bool, str]:
        """Return whether the loop turns, and a sentence for people."""
        age = self._clock.monotonic() - self._beat
        return age < _ALIVE_SECONDS, f"event loop turned {age:.1f} s ago"

    def ready(self) -> tuple[bool, str]:
        """Return whether the last success is fresh, and a sentence for people."""
        success = self._success  # read once: another thread may take it back meanwhile
        if success is None:
            return False, f"{self._not_ready}{self._note}"
        age = self._clock.monotonic() - success
        limit = self._ready_for_seconds
        return limit is None or age < limit, f"last success {age:.1f} s ago{self._note}"
