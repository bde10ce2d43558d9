"""How many requests the scaler allows itself, so that half of the account's quota is left to everybody else.

ECS allows an account so many requests by category of action, as token buckets
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html, read 2026-11). The scaler
keeps buckets of half that size, and where two kinds of request share one, the less urgent kind leaves a rest
of it: protecting comes before adding capacity, that before looking, and that before letting go.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sidecar.errors import Transient

if TYPE_CHECKING:
    from sidecar.clock import Clock

SHARE_OF_QUOTA = 0.5


class Urgency(Enum):
    """What a request is for, the most urgent first."""

    PROTECT = "protect"
    SCALE_OUT = "scale out"
    LOOK = "look"
    SCALE_IN = "scale in"


_LEAVES = {Urgency.PROTECT: 0.0, Urgency.SCALE_OUT: 0.0, Urgency.LOOK: 0.25, Urgency.SCALE_IN: 0.5}
"""The share of a bucket's burst that a request of this urgency leaves to the more urgent ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What ECS allows an account in one category: ``burst`` at once, ``per_second`` for ever."""

    category: str
    burst: float
    per_second: float


_SERVICE_MODIFY = Quota(category="service modify", burst=50, per_second=5)
_SERVICE_READ = Quota(category="service read", burst=100, per_second=20)
_RESOURCE_READ = Quota(category="cluster resource read", burst=100, per_second=20)
_PROTECTION = Quota(category="task protection", burst=200, per_second=80)

QUOTAS = {
    "UpdateService": _SERVICE_MODIFY,
    "DescribeServices": _SERVICE_READ,
    "ListTasks": _RESOURCE_READ,
    "DescribeTasks": _RESOURCE_READ,
    "UpdateTaskProtection": _PROTECTION,
    "GetTaskProtection": _PROTECTION,
}


class Budget:
    """Token buckets, full at first. Safe to call from any thread.

    Attributes:
        spent: requests made, by action; only grows.
        deferred: requests not made because the bucket was too empty for their urgency, by action.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}
        self.spent: dict[str, int] = dict.fromkeys(QUOTAS, 0)
        self.deferred: dict[str, int] = dict.fromkeys(QUOTAS, 0)

    def spend(self, action: str, urgency: Urgency) -> None:
        """Take one request for ``action``.

        Raises:
            Transient: too few are left for this urgency; the next tick has more.
        """
        quota = QUOTAS[action]
        burst, per_second = quota.burst * SHARE_OF_QUOTA, quota.per_second * SHARE_OF_QUOTA
        with self._lock:
            now = self._clock.monotonic()
            level, since = self._levels.get(quota.category, (burst, now))
            level = min(burst, level + per_second * (now - since))
            may = level - 1 >= burst * _LEAVES[urgency]
            self._levels[quota.category] = (level - 1 if may else level, now)
            (self.spent if may else self.deferred)[action] += 1
        if not may:
            raise Transient(
                f"{action} is left for the next tick",
                why=f"the scaler keeps to half of ECS's request quota ({quota.category})",
                remedy="Nothing is to be done; steer fewer services with one scaler if it lasts",
            )
