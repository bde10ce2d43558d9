"""Which predictions a fleet uses. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What may be foreseen, and how boldly. The numbers are tuned in ``benchmarks/worker_scaler``.

    Attributes:
        prescale: workers are ordered before known cron runs, for as many tasks as those had at first.
        later_stages: the same for the stages that follow in a run, when they followed in past runs.
        lead_quantile: how slow a start is reckoned with when ordering them: 0.3 is mostly late, by seconds;
            0.9 leaves cron work nearly no wait and costs more.
        order: among the workers that may go, those go first whose tasks end soonest.
        drain: a task that is over within this time does not count as a whole slot, because a slot gets free
            sooner than a worker would start: the slot is used again by the next one. Zero counts whole tasks.
        prescale_drain: the same, for the tasks of runs to come.
    """

    prescale: bool = True
    later_stages: bool = True
    lead_quantile: float = 0.3
    order: bool = True
    drain: timedelta = timedelta(seconds=60)
    prescale_drain: timedelta = timedelta(seconds=60)
