"""The service scheduler: from what a service wants and has to what is started, stopped and said next.

Pure. :func:`decide` is called at every change and repeats itself without harm. Its promises, tested as
properties: a protected task is never chosen to be stopped (but by the deletion of its service), no more
tasks are stopped than the difference asks for, and repeated decisions reach the desired count.

Which task ends when a count is lowered is chosen at random among the unprotected ones. ECS balances
availability zones first and says nothing about the order within one; whether a task is busy plays no part,
which is the reason why task protection exists.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service_scheduler.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from local_ecs.model import (
    Deployment,
    Dice,
    RolloutState,
    Service,
    ServiceStatus,
    Task,
    TaskDefinition,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do for one service now.

    Attributes:
        service: the service as it is to be remembered.
        start: how many tasks of the primary deployment to start.
        stop: ids of the tasks to stop.
        messages: new service events, in order.
        roll_back_to: a failed deployment is to be followed by one of this definition.
    """

    service: Service
    start: int = 0
    stop: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    roll_back_to: TaskDefinition | None = None


def decide(service: Service, tasks: Sequence[Task], *, now: datetime, dice: Dice) -> Plan:
    """Return the next step for ``service``, whose tasks that have not ended are ``tasks``."""
    if service.status is ServiceStatus.INACTIVE:
        return Plan(service=service)
    wanted = [task for task in tasks if task.wanted]
    if service.status is ServiceStatus.DRAINING:
        status = ServiceStatus.DRAINING if tasks else ServiceStatus.INACTIVE
        return Plan(service=replace(service, status=status), stop=tuple(task.id for task in wanted))
    if _has_just_failed(service) and service.rollout.roll_back and service.proven is not None:
        return Plan(service=service, roll_back_to=service.proven)

    new = [task for task in wanted if task.deployment_id == service.primary.id]
    old = [task for task in wanted if task.deployment_id != service.primary.id]
    surplus = max(0, len(new) - service.desired_count)
    victims = _choose(new, surplus, now, dice)
    replaced = _choose_replaced(service, old, _running(new) - _running(victims), now, dice)
    blocked = surplus - len(victims)
    if len(new) == _running(new) >= service.desired_count:  # nothing else holds the older tasks
        blocked += sum(1 for task in old if task.is_protected(now))
    start = _room_to_start(service, len(new), len(wanted), now)
    told, messages = _tell(service, new, old, blocked=blocked, is_idle=not (start or victims or replaced))
    kept = _keep_used_deployments(told, tasks)
    return Plan(
        service=kept,
        start=start,
        stop=tuple(task.id for task in (*victims, *replaced)),
        messages=messages,
    )


def _running(tasks: Sequence[Task]) -> int:
    return sum(1 for task in tasks if task.is_running)


def _choose(tasks: Sequence[Task], count: int, now: datetime, dice: Dice) -> list[Task]:
    unprotected = [task for task in tasks if not task.is_protected(now)]
    return dice.sample(unprotected, min(max(0, count), len(unprotected)))


def _choose_replaced(
    service: Service, old: Sequence[Task], new_running: int, now: datetime, dice: Dice
) -> list[Task]:
    """Choose tasks of older deployments: those not running yet, and what the healthy minimum spares."""
    if service.primary.rollout_state is RolloutState.FAILED:
        return _choose(old, len(old) + new_running - service.desired_count, now, dice)
    minimum = math.ceil(service.desired_count * service.rollout.minimum_healthy_percent / 100)
    idle = [task for task in old if not task.is_running and not task.is_protected(now)]
    running = [task for task in old if task.is_running]
    spare = new_running + len(running) - minimum
    return [*idle, *_choose(running, spare, now, dice)]


def _room_to_start(service: Service, new: int, wanted: int, now: datetime) -> int:
    is_failed = service.primary.rollout_state is RolloutState.FAILED
    is_waiting = service.retry_at is not None and now < service.retry_at
    if is_failed or is_waiting:
        return 0
    upper = max(service.desired_count, service.desired_count * service.rollout.maximum_percent // 100)
    return max(0, min(service.desired_count - new, upper - wanted))


def _has_just_failed(service: Service) -> bool:
    return (
        service.primary.rollout_state is RolloutState.FAILED
        and service.proven is not None
        and service.proven.arn != service.primary.definition.arn
    )


def _tell(
    service: Service, new: Sequence[Task], old: Sequence[Task], *, blocked: int, is_idle: bool
) -> tuple[Service, tuple[str, ...]]:
    """Return the service with what it says about itself noted, and the new events."""
    told, messages = service, []
    if blocked and blocked != service.told_blocked:
        what = "stop tasks of an older deployment" if old else "scale in"
        messages.append(f"was unable to {what} due to (reason {blocked} tasks under protection)")
    told = replace(told, told_blocked=blocked)
    is_steady = is_idle and not old and len(new) == _running(new) == service.desired_count
    if is_steady and service.primary.rollout_state is RolloutState.IN_PROGRESS:
        done = replace(
            service.primary,
            rollout_state=RolloutState.COMPLETED,
            rollout_reason=f"ECS deployment {service.primary.id} completed.",
        )
        told = replace(told, deployments=(done, *service.deployments[1:]), proven=done.definition)
        messages.append(f"(deployment {done.id}) deployment completed.")
    if is_steady and not service.is_steady:
        messages.append("has reached a steady state.")
    return replace(told, is_steady=is_steady), tuple(messages)


def _keep_used_deployments(service: Service, tasks: Sequence[Task]) -> Service:
    used = {task.deployment_id for task in tasks}
    kept = tuple(d for d in service.deployments if d.id == service.primary.id or d.id in used)
    return service if len(kept) == len(service.deployments) else replace(service, deployments=kept)


def deploy(service: Service, definition: TaskDefinition, *, deployment_id: str, now: datetime) -> Service:
    """Begin a new deployment; the one before it stays until its tasks are gone."""
    primary = Deployment(id=deployment_id, definition=definition, created_at=now, updated_at=now)
    return replace(
        service,
        deployments=(primary, *service.deployments),
        consecutive_failures=0,
        last_failure_at=None,
        retry_at=None,
        is_steady=False,
    )
