"""Counts how workers ended, and the tasks that went with them. Those lost to scale-in must stay zero.

A worker that the last reading before saw busy counts with its tasks. That is an upper bound: a task may have
finished within the worker's ``stopTimeout``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker_scaler.deaths import Cause, cause_of
from worker_scaler.model import Phase, Sighting
from worker_scaler.occupancy import Occupancy


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of one worker.

    Attributes:
        tasks: how many it held when it was last seen.
        reason: ECS's sentence.
    """

    arn: str
    cause: Cause
    tasks: int
    reason: str


class Losses:
    """Watches one fleet; remembers who was busy and whose end was counted."""

    def __init__(self) -> None:
        self._busy: Mapping[str, int] = {}
        self._counted: frozenset[str] = frozenset()

    def forget(self) -> None:
        """Forget who was busy: somebody else was at work since. Whose end was counted stays known."""
        self._busy = {}

    def count(self, sighting: Sighting, occupancy: Occupancy | None) -> list[Death]:
        """Return the workers newly seen stopped."""
        now_busy = occupancy.tasks if occupancy is not None else {}
        stopped = [worker for worker in sighting.workers if worker.phase is Phase.STOPPED]
        deaths = [
            Death(
                arn=worker.arn,
                cause=cause_of(worker, sighting),
                tasks=max(self._busy.get(worker.arn, 0), now_busy.get(worker.arn, 0)),
                reason=worker.stop_reason,
            )
            for worker in stopped
            if worker.arn not in self._counted
        ]
        self._counted = frozenset(worker.arn for worker in stopped)
        if occupancy is not None:
            self._busy = occupancy.tasks
        return deaths
