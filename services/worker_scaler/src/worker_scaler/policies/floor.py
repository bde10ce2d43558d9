"""The policy of services that must not sink below a number, such as schedulers: repaired, never lowered."""

from __future__ import annotations

from dataclasses import dataclass

from worker_scaler.decision import Decision, Why
from worker_scaler.policies import Case
from worker_scaler.policies.counts import set_count


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorPolicy:
    """Implements :class:`worker_scaler.policies.Policy`: the count is at least ``min_workers``.

    A higher count is somebody's decision and is left alone.
    """

    needs_reading: bool = False

    def decide(self, case: Case) -> Decision:
        """Raise a count below the floor; leave any other."""
        return set_count(case, max(case.sighting.desired, case.fleet.min_workers), Why.FLOOR)
