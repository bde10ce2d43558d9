"""The fleets' ECS services, through boto3: the only module that knows ECS's words.

What ECS lists and does not describe, or whose protection it does not tell, is a worker of unknown phase: an
answer that is partly missing is never taken for "none".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import translate
from sidecar.errors import ConfigError
from worker_scaler.model import Fleet, Phase, Sighting, Worker
from worker_scaler.steps import Refusal

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient
    from types_boto3_ecs.type_defs import FailureTypeDef, ServiceTypeDef, TaskTypeDef

DESCRIBE_BATCH_TASKS = 100
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html, API_GetTaskProtection"""

_STARTING = ("PROVISIONING", "PENDING")
_ENDING = ("DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED")

T = TypeVar("T")


class EcsServices:
    """Implements :class:`worker_scaler.ports.Services` on the ECS API.

    Args:
        client: a boto3 ECS client with short timeouts; shared by threads.
    """

    def __init__(self, client: ECSClient) -> None:
        self._client = client
        self._stopped: dict[str, dict[str, Worker]] = {}  # a stopped task never changes: described once

    def look(self, fleet: Fleet) -> Sighting:
        """Return the service and all its workers as they are now (see the port)."""
        return _asking(f"Cannot look at {_named(fleet)}", lambda: self._look(fleet))

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Protect workers or renew it (see the port)."""
        doing = f"Cannot protect workers of {_named(fleet)}"
        answer = _asking(
            doing,
            lambda: self._client.update_task_protection(
                cluster=fleet.cluster, tasks=list(arns), protectionEnabled=True, expiresInMinutes=minutes
            ),
        )
        return _refusals(answer["failures"])

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Take the protection off (see the port)."""
        doing = f"Cannot unprotect workers of {_named(fleet)}"
        answer = _asking(
            doing,
            lambda: self._client.update_task_protection(
                cluster=fleet.cluster, tasks=list(arns), protectionEnabled=False
            ),
        )
        return _refusals(answer["failures"])

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Set the desired count (see the port)."""
        _asking(
            f"Cannot set the desired count of {_named(fleet)} to {count}",
            lambda: self._client.update_service(
                cluster=fleet.cluster, service=fleet.service, desiredCount=count
            ),
        )

    def describe(self, fleet: Fleet) -> ServiceTypeDef:
        """Return ECS's own description of the service.

        Raises:
            ConfigError: there is no such active service, or we may not see it.
            Transient: ECS did not answer; a retry may help.
        """
        return _asking(f"Cannot look at {_named(fleet)}", lambda: self._describe(fleet))

    def _describe(self, fleet: Fleet) -> ServiceTypeDef:
        answer = self._client.describe_services(cluster=fleet.cluster, services=[fleet.service])
        active = [service for service in answer["services"] if service.get("status") == "ACTIVE"]
        if not active:
            found = [service.get("status", "?") for service in answer["services"]]
            raise ConfigError(
                f"There is no active {_named(fleet)}",
                why=f"its status is {found[0]}" if found else "ECS does not know it",
                remedy=f"Create it, or correct cluster and service of fleet {fleet.name!r} in "
                "WORKER_SCALER_FLEETS",
            )
        return active[0]

    def _look(self, fleet: Fleet) -> Sighting:
        service = self._describe(fleet)
        wanted = self._list(fleet, "RUNNING")
        ended = self._list(fleet, "STOPPED")
        cache = self._stopped.get(fleet.name, {})
        known = {arn: cache[arn] for arn in ended if arn in cache}
        workers = self._describe_tasks(fleet, [arn for arn in (*wanted, *ended) if arn not in known])
        self._stopped[fleet.name] = known | {w.arn: w for w in workers if w.phase is Phase.STOPPED}
        return Sighting(
            desired=service.get("desiredCount", 0),
            is_deploying=len(service.get("deployments", [])) > 1,
            workers=(*self._with_protection(fleet, workers), *known.values()),
        )

    def _list(self, fleet: Fleet, desired_status: Literal["RUNNING", "STOPPED"]) -> list[str]:
        pages = self._client.get_paginator("list_tasks").paginate(
            cluster=fleet.cluster, serviceName=fleet.service, desiredStatus=desired_status
        )
        return [arn for page in pages for arn in page["taskArns"]]

    def _describe_tasks(self, fleet: Fleet, arns: Sequence[str]) -> list[Worker]:
        described: dict[str, Worker] = {}
        for batch in _batches(arns):
            answer = self._client.describe_tasks(cluster=fleet.cluster, tasks=list(batch))
            described |= {task["taskArn"]: _worker(task) for task in answer["tasks"] if "taskArn" in task}
        return [described.get(arn, Worker(arn=arn, phase=Phase.UNKNOWN)) for arn in arns]

    def _with_protection(self, fleet: Fleet, workers: Sequence[Worker]) -> Iterator[Worker]:
        running = [worker.arn for worker in workers if worker.phase is Phase.RUNNING]
        until: dict[str, datetime | None] = {}
        for batch in _batches(running):
            answer = self._client.get_task_protection(cluster=fleet.cluster, tasks=list(batch))
            for task in answer["protectedTasks"]:
                is_protected = task.get("protectionEnabled", False)
                until[task.get("taskArn", "")] = task.get("expirationDate") if is_protected else None
        for worker in workers:
            if worker.phase is not Phase.RUNNING:
                yield worker
            elif worker.arn in until:
                yield replace(worker, protected_until=until[worker.arn])
            else:
                yield replace(worker, phase=Phase.UNKNOWN)


def _asking(doing: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except (ClientError, BotoCoreError) as err:
        raise translate(err, doing) from err


def _worker(task: TaskTypeDef) -> Worker:
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
        started_at=task.get("startedAt"),
        addresses=_distinct(addresses),
        dns_names=_distinct(d.get("value", "") for d in interfaces if d.get("name") == "privateDnsName"),
        runtime_ids=_distinct(container.get("runtimeId", "") for container in containers),
        stop_code=task.get("stopCode", ""),
    )


def _phase(task: TaskTypeDef) -> Phase:
    status = task.get("lastStatus", "")
    if status == "STOPPED":
        return Phase.STOPPED
    if task.get("desiredStatus") == "STOPPED" or status in _ENDING:
        return Phase.LEAVING
    return Phase.PENDING if status in _STARTING else Phase.RUNNING


def _refusals(failures: Iterable[FailureTypeDef]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(arn=failure.get("arn", ""), reason=": ".join(_said(failure, "reason", "detail")))
        for failure in failures
    )


def _said(failure: Mapping[str, object], *names: str) -> list[str]:
    return [str(failure[name]) for name in names if failure.get(name)]


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _batches(arns: Sequence[str]) -> Iterator[Sequence[str]]:
    return (arns[at : at + DESCRIBE_BATCH_TASKS] for at in range(0, len(arns), DESCRIBE_BATCH_TASKS))


def _named(fleet: Fleet) -> str:
    return f"ECS service {fleet.service!r} in cluster {fleet.cluster!r}"
