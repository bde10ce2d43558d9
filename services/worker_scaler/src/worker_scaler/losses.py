"""Counts tasks lost to scale-in: the number that must stay zero, watched in production.

A worker that ECS's service scheduler ended, and that the last reading before saw busy, counts with its tasks.
That is an upper bound: a task may have finished within the worker's ``stopTimeout``.
"""

from __future__ import annotations

from collections.abc import Mapping

from worker_scaler.model import Phase, Sighting
from worker_scaler.occupancy import Occupancy

_BY_SCALE_IN = "ServiceSchedulerInitiated"
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html (``stopCode``)"""


class Losses:
    """Watches one fleet; remembers who was busy and whose end was counted."""

    def __init__(self) -> None:
        self._busy: Mapping[str, int] = {}
        self._counted: frozenset[str] = frozenset()

    def count(self, sighting: Sighting, occupancy: Occupancy | None) -> Mapping[str, int]:
        """Return the workers newly seen stopped by scale-in while busy, with how many tasks they held."""
        now_busy = occupancy.tasks if occupancy is not None else {}
        stopped = [worker for worker in sighting.workers if worker.phase is Phase.STOPPED]
        lost = {
            worker.arn: max(self._busy.get(worker.arn, 0), now_busy.get(worker.arn, 0))
            for worker in stopped
            if worker.stop_code == _BY_SCALE_IN and worker.arn not in self._counted
        }
        self._counted = frozenset(worker.arn for worker in stopped)
        if occupancy is not None:
            self._busy = occupancy.tasks
        return {arn: tasks for arn, tasks in lost.items() if tasks}
