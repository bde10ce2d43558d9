"""The tasks of one cluster's services, with as few requests as possible.

A running task does not change until it leaves the list of the running ones, and a stopped one never: each is
described once. What ECS lists and does not describe, or whose protection it does not tell, is a worker of
unknown phase: an answer that is partly missing is never taken for "none".

The stopped ones only tell how workers ended. They are looked for last and by service, since a cluster may
remember thousands of other people's, and a look is whole without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.errors import SidecarError
from worker_scaler.ecs_words import service_of, to_worker
from worker_scaler.model import Phase, Worker

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient
    from types_boto3_ecs.type_defs import ListTasksResponseTypeDef

    from worker_scaler.ecs import Spend

DESCRIBE_BATCH_TASKS = 100
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html, API_GetTaskProtection"""

_STOPPED_EVERY_LOOKS = 30
_STOPPED_LISTS_PER_LOOK = 25
"""Of the 50 requests at once that half of the quota allows: the next look needs the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    service: str
    worker: Worker


class ClusterTasks:
    """What is known of one cluster's tasks. Not for two threads at once.

    Args:
        client: a boto3 ECS client.
        cluster: its name or ARN.
        spend: called before each request.
    """

    def __init__(self, client: ECSClient, cluster: str, spend: Spend) -> None:
        self._client = client
        self._cluster = cluster
        self._spend = spend
        self._known: dict[str, _Known] = {}
        self._is_shared = False  # with so many other tasks that its own lists are fewer requests
        self._looks = 0
        self._ends_listed: dict[str, tuple[int, str | None]] = {}  # service: in which look, at which event

    def workers(self, newest_events: Mapping[str, str]) -> dict[str, list[Worker]]:
        """Return the workers of each service, also those that are leaving or gone.

        Args:
            newest_events: each service's name to the id of its newest event. ECS writes one whenever it
                starts or stops tasks, so while they stay the same no stopped task is looked for.
        """
        services = frozenset(newest_events)
        listed = self._running(services)
        owners = self._describe(services, listed)
        self._looks += 1
        for service in self._due(newest_events):
            try:
                self._learn_ends(service)
            except (SidecarError, ClientError, BotoCoreError):
                self._ends_listed[service] = (self._looks, None)
                break  # a later look asks again, after the others; who runs is known all the same
            self._ends_listed[service] = (self._looks, newest_events[service])
        found: dict[str, list[Worker]] = {service: [] for service in services}
        for known in self._known.values():
            if known.service in found:
                found[known.service].append(known.worker)
        for arn in listed:
            if arn not in self._known and owners.get(arn) in found:
                found[owners[arn]].append(Worker(arn=arn, phase=Phase.UNKNOWN))
        return self._with_protection(found)

    def _running(self, services: AbstractSet[str]) -> dict[str, str]:
        """Return the running tasks' ARNs with the service they are known to belong to, "" when none is known.

        One list of the whole cluster is asked for while it takes no more requests than one list per service.
        """
        if len(services) > 1 and not self._is_shared:
            self._is_shared = True  # unless it ends in time, also when a request is refused midway
            arns = self._pages(None, "RUNNING", at_most=len(services))
            if arns is not None:
                self._is_shared = False
                return dict.fromkeys(arns, "")
        return self._list_each(services)

    def _list_each(self, services: AbstractSet[str]) -> dict[str, str]:
        return {arn: service for service in sorted(services) for arn in self._pages(service, "RUNNING") or ()}

    def _pages(
        self, service: str | None, status: Literal["RUNNING", "STOPPED"], *, at_most: int | None = None
    ) -> list[str] | None:
        """Return the ARNs; None when they are on more pages than ``at_most``."""
        lists = self._client.get_paginator("list_tasks")
        if service is None:
            pages = lists.paginate(cluster=self._cluster, desiredStatus=status)
        else:
            pages = lists.paginate(cluster=self._cluster, serviceName=service, desiredStatus=status)
        arns: list[str] = []
        for asked, page in enumerate(self._paid(pages), 1):
            arns += page["taskArns"]
            if not page.get("nextToken"):
                break
            if asked == at_most:
                return None
        return arns

    def _paid(self, pages: Iterable[ListTasksResponseTypeDef]) -> Iterator[ListTasksResponseTypeDef]:
        iterator = iter(pages)
        while True:
            self._spend("ListTasks")
            yield next(iterator)

    def _due(self, newest_events: Mapping[str, str]) -> list[str]:
        """Return the services whose stopped tasks to look for: those with news, the longest unasked first."""
        last = {service: self._ends_listed.get(service, (0, None)) for service in newest_events}
        due = [
            service
            for service, event in newest_events.items()
            if last[service][1] != event or self._looks - last[service][0] >= _STOPPED_EVERY_LOOKS
        ]
        return sorted(due, key=lambda service: (last[service][0], service))[:_STOPPED_LISTS_PER_LOOK]

    def _learn_ends(self, service: str) -> None:
        """Learn how a service's workers ended; forget those that ECS itself forgot."""
        ended = set(self._pages(service, "STOPPED") or ())
        self._learn([arn for arn in sorted(ended) if self._phase_of(arn) is not Phase.STOPPED])
        self._known = {
            arn: known
            for arn, known in self._known.items()
            if arn in ended or known.service != service or known.worker.phase is not Phase.STOPPED
        }

    def _describe(self, services: AbstractSet[str], listed: Mapping[str, str]) -> dict[str, str]:
        """Learn what may have changed; return whom the listed tasks belong to."""
        gone = [
            arn for arn, known in self._known.items() if known.service not in services and arn not in listed
        ]
        for arn in gone:  # another service's: nobody asks how it ended
            del self._known[arn]
        new = [arn for arn in listed if self._phase_of(arn) is not Phase.RUNNING]
        left = [
            arn
            for arn, known in self._known.items()
            if arn not in listed and known.worker.phase is not Phase.STOPPED
        ]
        wanted = list(dict.fromkeys([*new, *left]))
        for arn in set(wanted) - self._learn(wanted):
            self._known.pop(arn, None)
        owners = {arn: self._known[arn].service if arn in self._known else listed[arn] for arn in listed}
        if any(not owner and arn not in self._known for arn, owner in owners.items()):
            owners |= self._list_each(services)  # a task nobody could describe is somebody's
        return owners

    def _learn(self, arns: Sequence[str]) -> set[str]:
        """Describe these tasks; return those that ECS described."""
        seen: set[str] = set()
        for batch in _batches(arns):
            self._spend("DescribeTasks")
            answer = self._client.describe_tasks(cluster=self._cluster, tasks=list(batch))
            for task in answer["tasks"]:
                if "taskArn" in task:
                    seen.add(task["taskArn"])
                    self._known[task["taskArn"]] = _Known(service=service_of(task), worker=to_worker(task))
        return seen

    def _phase_of(self, arn: str) -> Phase | None:
        known = self._known.get(arn)
        return known.worker.phase if known is not None else None

    def _with_protection(self, found: Mapping[str, Sequence[Worker]]) -> dict[str, list[Worker]]:
        running = [w.arn for workers in found.values() for w in workers if w.phase is Phase.RUNNING]
        until: dict[str, datetime | None] = {}
        for batch in _batches(running):
            self._spend("GetTaskProtection")
            answer = self._client.get_task_protection(cluster=self._cluster, tasks=list(batch))
            for task in answer["protectedTasks"]:
                is_protected = task.get("protectionEnabled", False)
                until[task.get("taskArn", "")] = task.get("expirationDate") if is_protected else None
        return {service: list(_protected(workers, until)) for service, workers in found.items()}


def _protected(workers: Sequence[Worker], until: Mapping[str, datetime | None]) -> Iterator[Worker]:
    for worker in workers:
        if worker.phase is not Phase.RUNNING:
            yield worker
        elif worker.arn in until:
            yield replace(worker, protected_until=until[worker.arn])
        else:
            yield replace(worker, phase=Phase.UNKNOWN)


def _batches(arns: Sequence[str]) -> Iterator[Sequence[str]]:
    return (arns[at : at + DESCRIBE_BATCH_TASKS] for at in range(0, len(arns), DESCRIBE_BATCH_TASKS))
