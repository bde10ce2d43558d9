"""What one decision hands to the next of the same fleet. Pure.

It lives in the process only. Without it the scaler is merely more careful: a whole scale-in window has to
pass again, and whoever was being released is protected again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The demand of one reading, in tasks."""

    at: datetime
    demand: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """A service that cannot start workers is not pushed before ``until``; it was, ``tries`` times."""

    tries: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of one fleet.

    Attributes:
        since: begin of the unbroken series of readings; None before the first.
        samples: the demands of the scale-in window, oldest first.
        releasing: workers that an earlier decision chose to release: to be confirmed by a later reading.
        backoff: set while the service cannot start workers.
    """

    since: datetime | None = None
    samples: tuple[Sample, ...] = ()
    releasing: frozenset[str] = frozenset()
    backoff: Backoff | None = None

    @property
    def last_at(self) -> datetime | None:
        """When the last accepted reading was taken."""
        return self.samples[-1].at if self.samples else None

    @property
    def peak(self) -> int:
        """The highest demand of the window."""
        return max((sample.demand for sample in self.samples), default=0)

    def covers(self, window: timedelta) -> bool:
        """Whether the readings reach back over a whole window without a gap."""
        return self.since is not None and bool(self.samples) and self.samples[-1].at - self.since >= window

    def with_sample(self, sample: Sample, *, window: timedelta, gap: timedelta) -> Memory:
        """Add one; a gap since the last one starts the series anew, because nobody knows what was in it."""
        is_unbroken = self.last_at is not None and sample.at - self.last_at <= gap
        young = [old for old in self.samples if is_unbroken and sample.at - old.at <= window]
        return replace(
            self,
            since=self.since if is_unbroken else sample.at,
            samples=(*young, sample),
        )

    def with_releasing(self, arns: frozenset[str]) -> Memory:
        """Remember whom the decision just taken chose to release."""
        return replace(self, releasing=arns)
