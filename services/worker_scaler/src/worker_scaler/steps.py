"""What a decision may ask to be done, one step at a time. Values only; each step is idempotent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker_scaler.agent import Order

PROTECTION_BATCH_TASKS = 10
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateTaskProtection.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """Protect these workers (at most 10) from scale-in, or renew it. Idempotent."""

    arns: tuple[str, ...]
    minutes: int

    def __str__(self) -> str:
        """For people."""
        return f"protect {len(self.arns)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprotect:
    """Take the protection off these workers (at most 10). Idempotent."""

    arns: tuple[str, ...]

    def __str__(self) -> str:
        """For people."""
        return f"unprotect {len(self.arns)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDesired:
    """Set the service's desired count. ``before`` is what it was seen to be."""

    count: int
    before: int

    def __str__(self) -> str:
        """For people."""
        return f"set desired {self.before} to {self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Give:
    """Give the agents of these workers an order. Idempotent; it lapses by itself."""

    arns: tuple[str, ...]
    order: Order

    def __str__(self) -> str:
        """For people."""
        return f"{self.order.value} {len(self.arns)}"


Step = Protect | Unprotect | SetDesired | Give


def only_adds(step: Step) -> bool:
    """Say whether a step only adds safety or capacity: it may be done although one before it failed."""
    if isinstance(step, SetDesired):
        return step.count > step.before
    return isinstance(step, Protect) or (isinstance(step, Give) and step.order is Order.WORK)


def lets_go(step: Step) -> bool:
    """Say whether ECS may stop somebody because of it."""
    return isinstance(step, Unprotect) or (isinstance(step, SetDesired) and step.count < step.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One worker whose protection ECS did not change, and ECS's reason."""

    arn: str
    reason: str


def batches(arns: Sequence[str]) -> list[tuple[str, ...]]:
    """Cut into what one call of UpdateTaskProtection takes."""
    return [
        tuple(arns[at : at + PROTECTION_BATCH_TASKS]) for at in range(0, len(arns), PROTECTION_BATCH_TASKS)
    ]
