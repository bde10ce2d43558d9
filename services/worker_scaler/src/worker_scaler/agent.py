"""What a worker says of itself (docs/adr/0004): the one thing that can prove it idle.

Values, and how to read them. Pure: the HTTP client is :mod:`worker_scaler.agents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

PROTOCOL_VERSION = 1
HOLDER = "worker-scaler"
"""Who gives our orders: an order of somebody else is no proof that the worker stays as it is."""

ORDER_SECONDS = 120.0
"""How long an order lasts without being repeated; many ticks, and less than people wait."""

ORDER_MARGIN = timedelta(seconds=30)
"""An order that lapses sooner is not counted on: it might not outlive the step that relies on it."""


class AgentPhase(StrEnum):
    """Where the agent is with taking work."""

    WORKING = "working"
    CORDONED = "cordoned"  # asks for no messages; an open poll or tasks are still there
    QUIET = "quiet"  # cordoned, and nothing is there any more
    STOPPING = "stopping"


class Order(StrEnum):
    """What an agent can be told."""

    WORK = "work"
    CORDON = "cordon"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """One answer of a worker's agent.

    Attributes:
        hostname: as Airflow records it in ``task_instance.hostname``.
        active_tasks, reserved_messages: being executed; received and not begun.
        order, order_until, order_holder: the order in force, when it lapses, who gave it; None when none is.
    """

    phase: AgentPhase
    hostname: str = ""
    active_tasks: int = 0
    reserved_messages: int = 0
    order: Order | None = None
    order_until: datetime | None = None
    order_holder: str | None = None

    @property
    def held(self) -> int:
        """How many tasks it holds, begun or not."""
        return self.active_tasks + self.reserved_messages

    def follows(self, order: Order, *, now: datetime) -> bool:
        """Whether this order of ours is in force, and outlives a step that relies on it."""
        return (
            self.order is order
            and self.order_holder == HOLDER
            and self.order_until is not None
            and self.order_until - now >= ORDER_MARGIN
        )

    def is_proven_idle(self, now: datetime) -> bool:
        """Whether it holds nothing, and will not take anything while our order is in force."""
        return self.phase is AgentPhase.QUIET and self.held == 0 and self.follows(Order.CORDON, now=now)


def parse(document: Mapping[str, Any], *, arn: str) -> AgentState:
    """Read an answer.

    Args:
        document: the JSON object.
        arn: the ECS task that was asked for. Addresses are reused: another task's answer says nothing of it.

    Raises:
        ValueError: not this protocol, or another task's answer; the text says which.
    """
    if document.get("version") != PROTOCOL_VERSION:
        raise ValueError(f"version {document.get('version')!r} in place of {PROTOCOL_VERSION}")
    if document.get("task_arn") != arn:
        raise ValueError(f"the answer is of task {document.get('task_arn')}")
    try:
        order = document.get("order")
        return AgentState(
            phase=AgentPhase(document["phase"]),
            hostname=str(document.get("hostname") or ""),
            active_tasks=_count(document["active_tasks"]),
            reserved_messages=_count(document["reserved_messages"]),
            order=Order(order) if order is not None else None,
            order_until=_moment(document.get("order_until")),
            order_holder=document.get("order_holder"),
        )
    except KeyError as err:
        raise ValueError(f"it has no member {err}") from err


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as err:
        raise ValueError(f"{value!r} is out of range") from err
