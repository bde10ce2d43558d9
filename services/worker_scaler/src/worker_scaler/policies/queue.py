"""The policy of Celery workers: as many as the work in their queues needs, and nobody busy is let go."""

from __future__ import annotations

from dataclasses import dataclass

from worker_scaler.decide import decide
from worker_scaler.decision import Decision
from worker_scaler.policies import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """Implements :class:`worker_scaler.policies.Policy` with :func:`worker_scaler.decide.decide`."""

    needs_reading: bool = True

    def decide(self, case: Case) -> Decision:
        """Choose the next steps."""
        return decide(
            case.fleet,
            case.sighting,
            case.reading,
            case.memory,
            now=case.now,
            outlook=case.outlook,
            is_paused=case.is_paused,
            chance=case.chance,
        )
