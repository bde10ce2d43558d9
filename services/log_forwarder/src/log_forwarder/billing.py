"""What the stream costs, from what was billed lately. Pure."""

from __future__ import annotations

from collections import deque

# https://aws.amazon.com/firehose/pricing/ : Direct PUT, first 500 TB a month, us-east-1; other regions differ
DOLLARS_PER_GB = 0.029
_GB = 1_000_000_000
_WINDOW_SECONDS = 3600.0
_STEP_SECONDS = 60.0
_DAY_SECONDS = 86_400.0


class Billing:
    """Billed bytes of the last hour, by the minute."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._minutes: deque[tuple[float, int]] = deque()

    def add(self, billed_bytes: int, now: float) -> None:
        """Take note of what was billed."""
        if self._minutes and now - self._minutes[-1][0] < _STEP_SECONDS:
            began, so_far = self._minutes[-1]
            self._minutes[-1] = (began, so_far + billed_bytes)
        else:
            self._minutes.append((now, billed_bytes))

    def dollars_per_day(self, now: float) -> float:
        """Return what a day costs at the pace of the last hour, or of the time since the start."""
        while self._minutes and now - self._minutes[0][0] > _WINDOW_SECONDS:
            self._minutes.popleft()
        seconds = max(_STEP_SECONDS, min(_WINDOW_SECONDS, now - self._started))
        billed = sum(billed_bytes for _, billed_bytes in self._minutes)
        return billed / _GB * DOLLARS_PER_GB * _DAY_SECONDS / seconds
