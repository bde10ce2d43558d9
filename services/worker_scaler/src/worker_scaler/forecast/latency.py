"""How long a worker takes to start, learnt from ECS's own timestamps. Pure.

Nothing is stored: ECS tells ``createdAt`` and ``startedAt`` of every task for an hour after its end, so a
restarted scaler knows again after one look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker_scaler.model import Sighting

REMEMBERED_STARTS = 200
ENOUGH_STARTS = 5
UNKNOWN_SECONDS = 90.0
"""Until enough starts were seen: Airflow's image on Fargate takes 60 to 120 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLatencies:
    """The last starts of one service.

    Attributes:
        seconds_by_arn: from creation to RUNNING, the oldest first; at most :data:`REMEMBERED_STARTS`.
        ordered: the same seconds, the shortest first.
    """

    seconds_by_arn: Mapping[str, float] = field(default_factory=dict)
    ordered: tuple[float, ...] = ()

    def seen(self, sighting: Sighting) -> StartLatencies:
        """Add the starts of a look that are not known yet."""
        new = {
            worker.arn: (worker.started_at - worker.created_at).total_seconds()
            for worker in sighting.workers
            if worker.created_at is not None
            and worker.started_at is not None
            and worker.arn not in self.seconds_by_arn
        }
        if not new:
            return self
        last = dict([*self.seconds_by_arn.items(), *new.items()][-REMEMBERED_STARTS:])
        return StartLatencies(seconds_by_arn=last, ordered=tuple(sorted(last.values())))

    def at(self, share: float) -> float:
        """Return the seconds that ``share`` of the starts did not exceed."""
        if len(self.ordered) < ENOUGH_STARTS:
            return UNKNOWN_SECONDS
        return self.ordered[min(len(self.ordered) - 1, int(share * len(self.ordered)))]
