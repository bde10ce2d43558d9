"""The policy of services that follow the clock, such as a web server from eight to ten. Pure.

Hours are local ones: at eight it is eight on both sides of a change of the clocks. An hour that a change
skips begins with the next one that exists; of one that comes twice the first begins and the last ends.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from worker_scaler.decision import Decision, Why
from worker_scaler.policies import Case
from worker_scaler.policies.counts import set_count

_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """One window of every week.

    Attributes:
        days: weekdays on which it begins, Monday is 0.
        begins, ends: local times; an end that is not later than the begin is on the next day.
        time_zone: an IANA name.
        workers: the count while it is open.
        closed_on: local dates on which it does not begin, such as holidays.
    """

    days: frozenset[int]
    begins: time
    ends: time
    time_zone: str
    workers: int
    closed_on: Container[date] = field(default_factory=frozenset)

    def contains(self, now: datetime) -> bool:
        """Whether it is open at ``now`` (aware)."""
        today = now.astimezone(ZoneInfo(self.time_zone)).date()
        return any(self._opened_on(today - timedelta(days=back), now) for back in (0, 1))

    def _opened_on(self, day: date, now: datetime) -> bool:
        if day.weekday() not in self.days or day in self.closed_on:
            return False
        last = day if self.ends > self.begins else day + timedelta(days=1)
        return self._moment(day, self.begins, fold=0) <= now < self._moment(last, self.ends, fold=1)

    def _moment(self, day: date, at: time, *, fold: int) -> datetime:
        local = datetime.combine(day, at, tzinfo=ZoneInfo(self.time_zone)).replace(fold=fold)
        return local.astimezone(ZoneInfo("UTC"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePolicy:
    """Implements :class:`worker_scaler.policies.Policy`: the highest count of the open windows.

    Outside all of them the count is ``min_workers``; ``max_workers`` bounds it.
    """

    hours: Sequence[Hours]
    needs_reading: bool = False

    def decide(self, case: Case) -> Decision:
        """Set what the clock says."""
        fleet = case.fleet
        opened = [hours.workers for hours in self.hours if hours.contains(case.now)]
        count = min(max([fleet.min_workers, *opened]), fleet.max_workers)
        return set_count(case, count, Why.SCHEDULED)


def parse_days(text: str) -> frozenset[int]:
    """Read ``mon-fri``, ``sat,sun``, ``fri-mon``; raises ValueError that names what is wrong."""
    days: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        for name in (first, last or first):
            if name not in _NAMES:
                raise ValueError(f"{name!r} is no weekday; weekdays are {', '.join(_NAMES)}")
        begin, length = _NAMES.index(first), (_NAMES.index(last or first) - _NAMES.index(first)) % 7
        days |= {(begin + offset) % 7 for offset in range(length + 1)}
    return frozenset(days)
