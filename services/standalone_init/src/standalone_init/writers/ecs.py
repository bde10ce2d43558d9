"""The ECS API, as far as stopping and starting writers needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sidecar.aws import Aws
from standalone_init.aws_calls import asking
from standalone_init.writers.model import (
    COUNT_TAG,
    POSITION_TAG,
    SCALING_TAG,
    Memory,
    Remaining,
    Service,
    Sighting,
    memory_of,
)

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient
    from types_boto3_ecs.literals import DesiredStatusType
    from types_boto3_ecs.type_defs import ServiceTypeDef, TaskTypeDef

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
_DESCRIBED_SERVICES = 10
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
_DESCRIBED_TASKS = 100
# A task that is told to end is listed as stopped while its containers still work.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
_LISTED: tuple[DesiredStatusType, ...] = ("RUNNING", "STOPPED")
# The containers of a task in these states have ended.
_ENDED = frozenset({"DEPROVISIONING", "STOPPED", "DELETED"})


class EcsWriters:
    """Looks at services, and sets their counts and tags. Blocking."""

    def __init__(self, aws: Aws) -> None:
        with asking("Cannot reach ECS"):
            self._client: ECSClient = aws.session.client("ecs", config=aws.config())

    def look(self, services: Sequence[Service]) -> Mapping[Service, Sighting]:
        """Return those that exist and are active.

        Raises:
            SidecarError: see ``asking``.
        """
        found: dict[Service, Sighting] = {}
        for cluster, batch in _batches(services):
            with asking(f"Cannot look at the services of cluster {cluster!r}"):
                answer = self._client.describe_services(
                    cluster=cluster, services=[one.service for one in batch], include=["TAGS"]
                )
            by_name = {
                described.get("serviceName", ""): described
                for described in answer["services"]
                if described.get("status") == "ACTIVE"
            }
            for service in batch:
                described = by_name.get(service.service.rsplit("/", 1)[-1])
                if described is not None:
                    found[service] = _sighting(service, described)
        return found

    def remaining(self, services: Sequence[Service]) -> tuple[Remaining, ...]:
        """Return their tasks whose containers have not ended, those that are being stopped included."""
        return tuple(
            _remaining(service, task)
            for service in services
            for task in self._tasks(service)
            if task.get("lastStatus", "") not in _ENDED
        )

    def tag(self, sighting: Sighting, memory: Memory) -> None:
        """Let the service itself carry what is remembered."""
        tags = [{"key": key, "value": value} for key, value in memory.tags().items()]
        with asking(f"Cannot tag service {sighting.service}"):
            self._client.tag_resource(
                resourceArn=sighting.arn,
                tags=[{"key": tag["key"], "value": tag["value"]} for tag in tags],
            )

    def untag(self, sighting: Sighting) -> None:
        """Take these tags off. Idempotent."""
        with asking(f"Cannot untag service {sighting.service}"):
            self._client.untag_resource(
                resourceArn=sighting.arn, tagKeys=[COUNT_TAG, SCALING_TAG, POSITION_TAG]
            )

    def set_desired(self, service: Service, count: int) -> None:
        """Set the desired count; ECS starts or stops tasks afterwards."""
        with asking(f"Cannot set the desired count of {service} to {count}"):
            self._client.update_service(cluster=service.cluster, service=service.service, desiredCount=count)

    def _tasks(self, service: Service) -> Iterator[TaskTypeDef]:
        pages = self._client.get_paginator("list_tasks")
        with asking(f"Cannot look at the tasks of {service}"):
            arns = [
                arn
                for status in _LISTED
                for page in pages.paginate(
                    cluster=service.cluster, serviceName=service.service, desiredStatus=status
                )
                for arn in page["taskArns"]
            ]
            for at in range(0, len(arns), _DESCRIBED_TASKS):
                answer = self._client.describe_tasks(
                    cluster=service.cluster, tasks=arns[at : at + _DESCRIBED_TASKS]
                )
                yield from answer["tasks"]


def _batches(services: Sequence[Service]) -> Iterator[tuple[str, Sequence[Service]]]:
    by_cluster: defaultdict[str, list[Service]] = defaultdict(list)
    for service in services:
        by_cluster[service.cluster].append(service)
    for cluster, members in by_cluster.items():
        for at in range(0, len(members), _DESCRIBED_SERVICES):
            yield cluster, members[at : at + _DESCRIBED_SERVICES]


def _sighting(service: Service, described: ServiceTypeDef) -> Sighting:
    tags = {tag.get("key", ""): tag.get("value", "") for tag in described.get("tags", [])}
    return Sighting(
        service=service,
        arn=described.get("serviceArn", ""),
        desired=described.get("desiredCount", 0),
        running=described.get("runningCount", 0),
        pending=described.get("pendingCount", 0),
        memory=memory_of(service, tags),
    )


def _remaining(service: Service, task: TaskTypeDef) -> Remaining:
    addresses = (
        detail.get("value", "")
        for attachment in task.get("attachments", [])
        for detail in attachment.get("details", [])
        if detail.get("name") == "privateIPv4Address"
    )
    return Remaining(
        service=service,
        task_id=task.get("taskArn", "").rsplit("/", 1)[-1],
        status=task.get("lastStatus", "UNKNOWN"),
        address=next(addresses, ""),
    )
