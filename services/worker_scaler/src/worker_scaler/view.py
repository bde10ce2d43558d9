"""Everything one decision looks at, together. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, QueueDepth, Sighting
from worker_scaler.occupancy import Occupancy
from worker_scaler.outlook import Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One fleet at one moment.

    Attributes:
        depth: its queues together.
        memory: of the last decision, with this reading's sample.
        now: the scaler's time.
        chance: a number in [0, 1) drawn for this decision; spreads pauses.
    """

    fleet: Fleet
    sighting: Sighting
    depth: QueueDepth
    occupancy: Occupancy
    memory: Memory
    outlook: Outlook
    now: datetime
    chance: float = 0.5

    @property
    def expected_tasks(self) -> int:
        """The slots that are needed for what is there, and comes before a worker ordered now would run.

        Tasks that are there need one at least, however soon they are expected to end.
        """
        return expected_tasks(self.depth, self.outlook)

    @property
    def needed_by_now(self) -> int:
        """Workers for the demand of this moment."""
        return max(workers_for(self.fleet, self.expected_tasks), self._last_in_doubt)

    @property
    def needed_by_window(self) -> int:
        """Workers for the highest demand of the scale-in window."""
        return max(workers_for(self.fleet, self.memory.peak), self._last_in_doubt)

    @property
    def has_agents(self) -> bool:
        """Whether its workers speak for themselves."""
        return self.fleet.agent_port is not None

    @property
    def _last_in_doubt(self) -> int:
        """A fleet whose queues may hold uncounted work keeps its last worker."""
        return 1 if self.depth.doubt and self.sighting.desired > 0 else 0


def expected_tasks(depth: QueueDepth, outlook: Outlook) -> int:
    """Return the slots that are needed now and soon (see :attr:`View.expected_tasks`)."""
    there = max(depth.demand - outlook.drained_tasks, min(depth.demand, 1))
    return there + outlook.lead_demand_tasks


def workers_for(fleet: Fleet, demand: int) -> int:
    """Return exactly as many workers as ``demand`` tasks need, within the fleet's limits."""
    return min(max(unbounded_workers_for(fleet, demand), fleet.min_workers), fleet.max_workers)


def unbounded_workers_for(fleet: Fleet, demand: int) -> int:
    """Return as many workers as ``demand`` tasks need, whatever the fleet's limits."""
    return math.ceil(demand / fleet.tasks_per_worker)
