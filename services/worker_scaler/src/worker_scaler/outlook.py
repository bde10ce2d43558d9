"""What is expected to come, beside what is there. Pure; every value is optional, and nothing rests on it.

An outlook can only bring workers earlier, or choose better among workers that may go anyway. A wrong one
costs money or a wait; it can never stop a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the history of one fleet promises for the next minutes.

    Attributes:
        lead_demand_tasks: tasks expected to be queued before a worker ordered now could take them.
        imminent_tasks: how many of them are expected before the next decision.
        drained_tasks: of the tasks that are there, how many slots will be free, and used again by the others,
            sooner than a worker ordered now could help.
        remaining_seconds_by_arn: how long each worker is expected to hold its tasks, by task ARN; an absent
            one is unknown. Decides only who is cordoned and released first.
        start_latency_seconds: how long a worker takes from its creation to RUNNING, as a high quantile; None
            is unknown. A worker pending for much longer is a start that fails.
    """

    lead_demand_tasks: int = 0
    imminent_tasks: int = 0
    drained_tasks: int = 0
    remaining_seconds_by_arn: Mapping[str, float] = field(default_factory=dict)
    start_latency_seconds: float | None = None


NOTHING_EXPECTED = Outlook()
"""The outlook of who has no history."""
