"""How many calls at a time, how fast, and how long to pause: the sender's manners. Pure.

Concurrency is found by additive increase and multiplicative decrease, as TCP finds its window; pauses
are drawn with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/);
bytes per second are limited by a token bucket when a quota is set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_BASE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
HURRIED_PAUSE_SECONDS = 1.0  # while the process is asked to finish, a long pause would be the rest of it
_BURST_SECONDS = 1.0  # a quota is counted over a second or so


@dataclass(slots=True, kw_only=True)
class Governor:
    """The state of the sender's manners. Guarded by its owner's lock.

    Attributes:
        draw: a random number between two, for the jitter.
        calls_max: the most calls at a time.
        quota_bytes_per_second: what may be sent; 0 for no limit of our own.
        longest_pause_seconds: the cap of a pause.
        failures: calls in a row that failed for the other side's sake.
        failing_since: since when (monotonic); None while all goes well.
    """

    draw: Callable[[float, float], float]
    calls_max: int
    quota_bytes_per_second: float = 0.0
    longest_pause_seconds: float = LONGEST_PAUSE_SECONDS
    failures: int = 0
    failing_since: float | None = None
    _window: float = 1.0
    _not_before: float = 0.0
    _tokens: float = 0.0
    _filled_at: float | None = None

    @property
    def calls(self) -> int:
        """How many calls may be in flight now."""
        return max(1, min(self.calls_max, int(self._window)))

    def wait_seconds(self, now: float, *, in_flight: int) -> float:
        """Return how long no call may begin; 0 when one may, infinity when one must end first."""
        if in_flight >= (1 if self.failures else self.calls):
            return float("inf")
        pause = max(0.0, self._not_before - now)
        if self.quota_bytes_per_second:
            self._fill(now)
            pause = max(pause, -self._tokens / self.quota_bytes_per_second)
        return pause

    def began(self, call_bytes: int) -> None:
        """A call of this size began; a bucket may go into debt, so that a large call can go at all."""
        self._tokens -= call_bytes

    def succeeded(self) -> None:
        """A call was accepted, or some of its records were."""
        self._window = min(float(self.calls_max), self._window + 1.0 / self._window)
        self.failures = 0
        self.failing_since = None
        self._not_before = 0.0

    def was_partial(self, now: float) -> None:
        """A call was accepted in part: it goes on, slower."""
        self.succeeded()
        self._window = max(1.0, self._window / 2)
        self._not_before = now + self.draw(0.0, _BASE_SECONDS)

    def failed(self, now: float) -> None:
        """Nothing of a call was accepted, for a reason that may pass."""
        self._window = max(1.0, self._window / 2)
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now
        ceiling = min(self.longest_pause_seconds, _BASE_SECONDS * 2.0 ** min(self.failures, 30))
        self._not_before = now + self.draw(0.0, ceiling)

    def went_round(self) -> None:
        """A call went another way: nothing is known of the other side, and no reason to pause."""
        self._not_before = 0.0

    def hurry(self, now: float) -> None:
        """Make pauses short, and end the one that may be on."""
        self.longest_pause_seconds = min(self.longest_pause_seconds, HURRIED_PAUSE_SECONDS)
        self._not_before = min(self._not_before, now)
        self._window = float(self.calls_max)

    def _fill(self, now: float) -> None:
        burst = self.quota_bytes_per_second * _BURST_SECONDS
        if self._filled_at is None:
            self._tokens = burst
        else:
            self._tokens = min(burst, self._tokens + (now - self._filled_at) * self.quota_bytes_per_second)
        self._filled_at = now
