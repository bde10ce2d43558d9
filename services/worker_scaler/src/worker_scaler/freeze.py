"""Times in which a fleet is left as large as it is: cron, time zone and duration. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One freeze window.

    Attributes:
        cron: when it begins, five fields, in local time.
        time_zone: an IANA name.
        duration: how long it lasts in real time, also over a change of the clocks.
        also_out: whether nothing may be added either; a fleet grows through other freezes.
    """

    cron: str
    time_zone: str
    duration: timedelta
    also_out: bool = False

    def check(self) -> None:
        """Raise ValueError when the cron expression can never be read; the text says why."""
        try:
            CronSim(self.cron, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as err:
            raise ValueError(f"{self.cron!r} is no cron expression: {err}") from err

    def contains(self, now: datetime) -> bool:
        """Whether the window is open at ``now`` (aware)."""
        zone = ZoneInfo(self.time_zone)
        earliest = (now - self.duration).astimezone(zone)
        for begins in CronSim(self.cron, earliest):
            at = begins.astimezone(UTC)
            is_over = now - at >= self.duration  # cronsim may name the first of two equal hours in the second
            if is_over or (begins.fold and not self._is_every_hour):
                continue  # it began when this hour was there first
            return at <= now
        return False

    @property
    def _is_every_hour(self) -> bool:
        return self.cron.split()[1].startswith("*")


def in_force(freezes: Iterable[Freeze], now: datetime) -> Freeze | None:
    """Return an open window, the strictest first; None when none is open."""
    opened = [freeze for freeze in freezes if freeze.contains(now)]
    return max(opened, key=lambda freeze: freeze.also_out, default=None)
