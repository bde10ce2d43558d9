"""Task scale-in protection: who may be protected, for how long, and when ECS refuses.

Pure. https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateTaskProtection.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from local_ecs.model import Service, Task

MAX_TASKS_PER_UPDATE = 10
MAX_TASKS_PER_GET = 100
DEFAULT_EXPIRES_MINUTES = 120
MAX_EXPIRES_MINUTES = 2880


class Refusal(StrEnum):
    """Why one task of a request was not changed (``failures[].reason``)."""

    MISSING = "MISSING"
    NOT_VALID = "TASK_NOT_VALID"
    BLOCKED = "DEPLOYMENT_BLOCKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One task that was not changed, and why."""

    reason: Refusal
    detail: str


def refuse_read(task: Task | None) -> Refused | None:
    """Return why a task's protection cannot be read or changed at all, None when it can."""
    if task is None:
        return Refused(reason=Refusal.MISSING, detail="The task was not found in this cluster.")
    if task.service is None:
        return Refused(reason=Refusal.NOT_VALID, detail="Only tasks of a service can be protected.")
    if not task.wanted:
        return Refused(reason=Refusal.NOT_VALID, detail="The task is stopping or has stopped.")
    return None


def protect(
    task: Task, service: Service, siblings: Sequence[Task], *, minutes: int, now: datetime
) -> Task | Refused:
    """Protect ``task`` for ``minutes`` from ``now``; a repeated call starts the time anew.

    Refused with DEPLOYMENT_BLOCKED when the service would have more protected tasks than its desired count:
    also the renewal of a protected task, when somebody lowered the count below what is protected.

    Args:
        task: a running task of ``service``.
        service: its service.
        siblings: all tasks of the service that have not ended; may include ``task``.
        minutes: 1 to 2880, checked by the caller.
        now: the time.
    """
    others = sum(1 for sibling in siblings if sibling.id != task.id and sibling.is_protected(now))
    if others + 1 > service.desired_count:
        detail = (
            f"{others + 1} protected tasks would be more than the desired count, {service.desired_count}."
        )
        return Refused(reason=Refusal.BLOCKED, detail=detail)
    return replace(task, protected_until=now + timedelta(minutes=minutes), version=task.version + 1)


def release(task: Task) -> Task:
    """Take the protection off; always allowed, idempotent."""
    if task.protected_until is None:
        return task
    return replace(task, protected_until=None, version=task.version + 1)
