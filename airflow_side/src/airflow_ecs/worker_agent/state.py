"""What the worker says about itself (docs/adr/0004). No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_ecs.worker_agent.clock import to_iso
from airflow_ecs.worker_agent.orders import Order

PROTOCOL_VERSION = 1
Phase = Literal["working", "cordoned", "quiet", "stopping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the worker holds, counted in its event loop at one instant.

    Attributes:
        active_tasks: begun and not yet acknowledged or reported.
        reserved_messages: received and not begun, or on their way back to the queue.
        open_polls: questions to SQS that have not come back; each may still bring messages.
    """

    active_tasks: int
    reserved_messages: int
    open_polls: int

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is here and nothing can still come from a question already asked."""
        return not (self.active_tasks or self.reserved_messages or self.open_polls)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """One look at the worker."""

    task_arn: str | None
    hostname: str
    is_stopping: bool
    load: Load
    protected_until: float | None
    order: Order | None
    observed_at: float

    @property
    def phase(self) -> Phase:
        """Where the worker stands; only ``quiet`` proves that it can be ended without loss."""
        if self.is_stopping:
            return "stopping"
        if self.order is None or self.order.order == "work":
            return "working"
        return "quiet" if self.load.is_nothing else "cordoned"

    def to_json(self) -> dict[str, object]:
        """Return the document of ``GET /v1/worker``."""
        order = self.order
        return {
            "version": PROTOCOL_VERSION,
            "task_arn": self.task_arn,
            "hostname": self.hostname,
            "phase": self.phase,
            "active_tasks": self.load.active_tasks,
            "reserved_messages": self.load.reserved_messages,
            "protected_until": to_iso(self.protected_until),
            "order": None if order is None else order.order,
            "order_until": None if order is None else to_iso(order.until),
            "order_holder": None if order is None else order.holder,
            "observed_at": to_iso(self.observed_at),
        }
