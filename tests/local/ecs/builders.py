"""Services and tasks with defaults, for tests of the pure rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from local_ecs.model import (
    Container,
    ContainerDefinition,
    Deployment,
    LastStatus,
    RolloutPolicy,
    RolloutState,
    Service,
    ServiceKey,
    Task,
    TaskDefinition,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CURRENT = "ecs-svc/current"
OLDER = "ecs-svc/older"


def a_definition(revision: int = 1, *containers: ContainerDefinition) -> TaskDefinition:
    return TaskDefinition(
        arn=f"arn:aws:ecs:us-east-1:000000000000:task-definition/worker:{revision}",
        family="worker",
        revision=revision,
        containers=containers or (ContainerDefinition(name="main"),),
        registered_at=NOON,
    )


def a_task(
    name: str = "t",
    *,
    status: LastStatus = LastStatus.RUNNING,
    deployment: str = CURRENT,
    protected_minutes: int | None = None,
    created_seconds_ago: float = 60.0,
    containers: tuple[Container, ...] = (Container(name="main", image="", essential=True),),
) -> Task:
    created = NOON - timedelta(seconds=created_seconds_ago)
    has_started = status not in {LastStatus.PROVISIONING, LastStatus.PENDING}
    return Task(
        id=name,
        arn=f"arn:aws:ecs:us-east-1:000000000000:task/main/{name}",
        cluster="main",
        definition=a_definition(),
        containers=containers,
        created_at=created,
        pending_due_at=created,
        start_due_at=created,
        availability_zone="us-east-1a",
        group="service:workers",
        service="workers",
        deployment_id=deployment,
        last_status=status,
        launched=has_started,
        started_at=created if has_started else None,
        wanted=status not in {LastStatus.DEACTIVATING, LastStatus.STOPPING, LastStatus.STOPPED},
        protected_until=None if protected_minutes is None else NOON + timedelta(minutes=protected_minutes),
    )


def a_deployment(name: str = CURRENT, revision: int = 1) -> Deployment:
    definition = a_definition(revision)
    return Deployment(id=name, definition=definition, created_at=NOON, updated_at=NOON)


def a_service(
    desired_count: int, *, rollout: RolloutPolicy | None = None, is_rolling: bool = False
) -> Service:
    """Return a service at rest, or (``is_rolling``) one that replaces the tasks of an older deployment."""
    current = a_deployment()
    if not is_rolling:
        current = replace(current, rollout_state=RolloutState.COMPLETED)
    return Service(
        key=ServiceKey("main", "workers"),
        arn="arn:aws:ecs:us-east-1:000000000000:service/main/workers",
        desired_count=desired_count,
        deployments=(current, a_deployment(OLDER)) if is_rolling else (current,),
        created_at=NOON,
        rollout=rollout or RolloutPolicy(),
    )
