"""How a service's count is chosen, behind one loop: each policy is an object of its own.

``queue`` follows the work in queues, ``floor`` never lets a count sink below a number, ``schedule`` follows
the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker_scaler.decision import Decision
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, Reading, Sighting
from worker_scaler.outlook import Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything one decision is taken from; with it, the decision can be taken again.

    Attributes:
        reading: the queues; None when they could not be read, or nobody needs them.
        is_paused: whether a person told the scaler to change nothing.
        chance: a number in [0, 1) drawn for this decision.
    """

    fleet: Fleet
    sighting: Sighting
    reading: Reading | None
    memory: Memory
    outlook: Outlook
    now: datetime
    is_paused: bool
    chance: float


class Policy(Protocol):
    """Chooses the next steps for one service."""

    @property
    def needs_reading(self) -> bool:
        """Whether it looks at the queues at all."""

    def decide(self, case: Case) -> Decision:
        """Choose the next steps; the same case gives the same decision."""
