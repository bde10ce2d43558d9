"""ECS's documents as the scaler's values: the only module that knows how ECS spells things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from worker_scaler.model import Notice, Phase, Rollout, Sighting, Worker
from worker_scaler.steps import Refusal

if TYPE_CHECKING:
    from types_boto3_ecs.type_defs import FailureTypeDef, ServiceTypeDef, TaskTypeDef

_STARTING = ("PROVISIONING", "PENDING")
_ENDING = ("DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED")
_NOTICES_KEPT = 20
_GROUP = "service:"


def last_part(name_or_arn: str) -> str:
    """Return the name at the end of an ARN; a name is its own."""
    return name_or_arn.rsplit("/", 1)[-1]


def service_of(task: TaskTypeDef) -> str:
    """Return the name of the service that a task belongs to; "" for one started by hand."""
    group = task.get("group", "")
    return group.removeprefix(_GROUP) if group.startswith(_GROUP) else ""


def to_sighting(service: ServiceTypeDef, workers: Iterable[Worker]) -> Sighting:
    """Return one look at a service."""
    deployments = service.get("deployments", [])
    primary = next((each for each in deployments if each.get("status") == "PRIMARY"), None)
    rollout = None
    if primary is not None:
        rollout = Rollout(
            id=primary.get("id", ""),
            state=primary.get("rolloutState", ""),
            reason=primary.get("rolloutStateReason", ""),
            failed_tasks=primary.get("failedTasks", 0),
            started_at=primary.get("createdAt"),
        )
    notices = [
        Notice(at=event["createdAt"], message=event.get("message", ""))
        for event in service.get("events", [])[:_NOTICES_KEPT]
        if "createdAt" in event
    ]
    return Sighting(
        desired=service.get("desiredCount", 0),
        is_deploying=len(deployments) > 1,
        workers=tuple(workers),
        rollout=rollout,
        notices=tuple(notices),
    )


def to_worker(task: TaskTypeDef) -> Worker:
    """Return one task, without what its protection is: ECS tells that apart."""
    interfaces = [
        detail
        for attachment in task.get("attachments", [])
        if attachment.get("type") == "ElasticNetworkInterface"
        for detail in attachment.get("details", [])
    ]
    containers = task.get("containers", [])
    addresses = [d.get("value", "") for d in interfaces if d.get("name") == "privateIPv4Address"]
    addresses += [
        interface.get("privateIpv4Address", "")
        for container in containers
        for interface in container.get("networkInterfaces", [])
    ]
    return Worker(
        arn=task["taskArn"],
        phase=_phase(task),
        created_at=task.get("createdAt"),
        started_at=task.get("startedAt"),
        stopped_at=task.get("stoppedAt") or task.get("stoppingAt"),
        addresses=_distinct(addresses),
        dns_names=_distinct(d.get("value", "") for d in interfaces if d.get("name") == "privateDnsName"),
        runtime_ids=_distinct(container.get("runtimeId", "") for container in containers),
        deployment_id=task.get("startedBy", ""),
        stop_code=task.get("stopCode", ""),
        stop_reason=task.get("stoppedReason", ""),
        exits=tuple((c.get("exitCode"), c.get("reason", "")) for c in containers) if _has_ended(task) else (),
    )


def to_refusals(failures: Iterable[FailureTypeDef]) -> tuple[Refusal, ...]:
    """Return whom ECS did not change, and why."""
    return tuple(
        Refusal(arn=failure.get("arn", ""), reason=": ".join(_said(failure, "reason", "detail")))
        for failure in failures
    )


def _has_ended(task: TaskTypeDef) -> bool:
    return task.get("lastStatus", "") == "STOPPED"


def _phase(task: TaskTypeDef) -> Phase:
    status = task.get("lastStatus", "")
    if status == "STOPPED":
        return Phase.STOPPED
    if task.get("desiredStatus") == "STOPPED" or status in _ENDING:
        return Phase.LEAVING
    return Phase.PENDING if status in _STARTING else Phase.RUNNING


def _said(failure: Mapping[str, object], *names: str) -> list[str]:
    return [str(failure[name]) for name in names if failure.get(name)]


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))
