"""The fleets' ECS services, through boto3."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import translate
from sidecar.errors import ConfigError, SidecarError
from worker_scaler.budget import Budget, Urgency
from worker_scaler.ecs_tasks import ClusterTasks
from worker_scaler.ecs_words import last_part, to_refusals, to_sighting
from worker_scaler.model import Fleet, Sighting
from worker_scaler.steps import Refusal

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient
    from types_boto3_ecs.type_defs import ServiceTypeDef

DESCRIBE_BATCH_SERVICES = 10
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html"""

Spend = Callable[[str], None]
"""Called with an action's name before each request that only looks."""

T = TypeVar("T")


class EcsServices:
    """Implements :class:`worker_scaler.ports.Services` on the ECS API.

    Args:
        client: a boto3 ECS client with short timeouts; shared by threads.
        writer: another one, for what changes something: it tries once, so that no call outlives the lease
            that it was made under; the next tick tries again. None is the same one.
        budget: how many requests may be made; None is as many as needed.
    """

    def __init__(
        self, client: ECSClient, budget: Budget | None = None, *, writer: ECSClient | None = None
    ) -> None:
        self._client = client
        self._writer = writer or client
        self._budget = budget
        self._tasks: dict[str, ClusterTasks] = {}
        self._desired: dict[str, int] = {}

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting | SidecarError]:
        """Return each service and its workers as they are now (see the port)."""
        by_cluster: defaultdict[str, list[Fleet]] = defaultdict(list)
        for fleet in fleets:
            by_cluster[fleet.cluster].append(fleet)
        found: dict[str, Sighting | SidecarError] = {}
        for cluster, members in by_cluster.items():
            found |= self._look_at_cluster(cluster, members)
        return found

    def look(self, fleet: Fleet) -> Sighting:
        """Return one service and its workers as they are now.

        Raises:
            ConfigError: there is no such active service, or we may not see it.
            Transient: ECS did not answer; a retry may help.
        """
        found = self.look_all([fleet])[fleet.name]
        if isinstance(found, SidecarError):
            raise found
        return found

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Protect workers or renew it (see the port)."""
        self._spend("UpdateTaskProtection", Urgency.PROTECT)
        answer = _asking(
            f"Cannot protect workers of {_named(fleet)}",
            lambda: self._writer.update_task_protection(
                cluster=fleet.cluster, tasks=list(arns), protectionEnabled=True, expiresInMinutes=minutes
            ),
        )
        return to_refusals(answer["failures"])

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Take the protection off (see the port)."""
        self._spend("UpdateTaskProtection", Urgency.SCALE_IN)
        answer = _asking(
            f"Cannot unprotect workers of {_named(fleet)}",
            lambda: self._writer.update_task_protection(
                cluster=fleet.cluster, tasks=list(arns), protectionEnabled=False
            ),
        )
        return to_refusals(answer["failures"])

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Set the desired count (see the port)."""
        is_more = count > self._desired.get(fleet.name, 0)
        self._spend("UpdateService", Urgency.SCALE_OUT if is_more else Urgency.SCALE_IN)
        _asking(
            f"Cannot set the desired count of {_named(fleet)} to {count}",
            lambda: self._writer.update_service(
                cluster=fleet.cluster, service=fleet.service, desiredCount=count
            ),
        )

    def describe(self, fleet: Fleet) -> ServiceTypeDef:
        """Return ECS's own description of the service.

        Raises:
            ConfigError: there is no such active service, or we may not see it.
            Transient: ECS did not answer; a retry may help.
        """
        found = self._describe(fleet.cluster, [fleet])[fleet.name]
        if isinstance(found, SidecarError):
            raise found
        return found

    def _look_at_cluster(self, cluster: str, fleets: Sequence[Fleet]) -> dict[str, Sighting | SidecarError]:
        """Look at the services of one cluster; one that cannot be described does not hide the others."""
        described = self._describe(cluster, fleets)
        services = {
            name: service for name, service in described.items() if not isinstance(service, SidecarError)
        }
        found: dict[str, Sighting | SidecarError] = {
            name: error for name, error in described.items() if isinstance(error, SidecarError)
        }
        if not services:
            return found
        tasks = self._tasks.setdefault(
            cluster, ClusterTasks(self._client, cluster, lambda action: self._spend(action, Urgency.LOOK))
        )
        named = {fleet.name: last_part(fleet.service) for fleet in fleets}
        newest = {named[name]: _newest_event(service) for name, service in services.items()}
        try:
            workers = _asking(
                f"Cannot look at the tasks of cluster {cluster!r}", lambda: tasks.workers(newest)
            )
        except SidecarError as err:
            return found | dict.fromkeys(services, err)
        for name, service in services.items():
            sighting = to_sighting(service, workers[named[name]])
            self._desired[name] = sighting.desired
            found[name] = sighting
        return found

    def _describe(self, cluster: str, fleets: Sequence[Fleet]) -> dict[str, ServiceTypeDef | SidecarError]:
        found: dict[str, ServiceTypeDef | SidecarError] = {}
        for batch in _batches(fleets):
            names = [fleet.service for fleet in batch]
            doing = f"Cannot look at {_named(batch[0])}" + (" and others" if len(batch) > 1 else "")
            try:
                self._spend("DescribeServices", Urgency.LOOK)
                call = partial(self._client.describe_services, cluster=cluster, services=names)
                answer = _asking(doing, call)
            except SidecarError as err:
                found |= dict.fromkeys((fleet.name for fleet in batch), err)
                continue
            by_name = {service.get("serviceName", ""): service for service in answer["services"]}
            for fleet in batch:
                service = by_name.get(last_part(fleet.service))
                is_active = service is not None and service.get("status") == "ACTIVE"
                found[fleet.name] = service if service is not None and is_active else _absent(fleet, service)
        return found

    def _spend(self, action: str, urgency: Urgency) -> None:
        if self._budget is not None:
            self._budget.spend(action, urgency)


def _absent(fleet: Fleet, service: ServiceTypeDef | None) -> ConfigError:
    return ConfigError(
        f"There is no active {_named(fleet)}",
        why=f"its status is {service.get('status', '?')}" if service is not None else "ECS does not know it",
        remedy=f"Create it, or correct cluster and service of fleet {fleet.name!r} in WORKER_SCALER_FLEETS",
    )


def _newest_event(service: ServiceTypeDef) -> str:
    events = service.get("events", [])
    return events[0].get("id", "") if events else ""


def _asking(doing: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except (ClientError, BotoCoreError) as err:
        raise translate(err, doing) from err


def _batches(fleets: Sequence[Fleet]) -> Iterator[Sequence[Fleet]]:
    return (
        fleets[at : at + DESCRIBE_BATCH_SERVICES] for at in range(0, len(fleets), DESCRIBE_BATCH_SERVICES)
    )


def _named(fleet: Fleet) -> str:
    return f"ECS service {fleet.service!r} in cluster {fleet.cluster!r}"
