"""The tasks of one cluster's services, with as few requests as possible.

A running task does not change until it leaves the list of the running ones, and a stopped one never: each is
described once. What ECS lists and does not describe, or whose protection it does not tell, is a worker of
unknown phase: an answer that is partly missing is never taken for "none".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from worker_scaler.ecs_words import service_of, to_worker
from worker_scaler.model import Phase, Worker

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient

    from worker_scaler.ecs import Spend

DESCRIBE_BATCH_TASKS = 100
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html, API_GetTaskProtection"""

_STOPPED_EVERY_LOOKS = 30


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
        self._pages_of_all = 0
        self._looks = 0
        self._events: dict[str, str] = {}

    def workers(self, newest_events: Mapping[str, str]) -> dict[str, list[Worker]]:
        """Return the workers of each service, also those that are leaving or gone.

        Args:
            newest_events: each service's name to the id of its newest event. ECS writes one whenever it
                starts or stops tasks, so while they stay the same no stopped task is looked for.
        """
        services = frozenset(newest_events)
        with_stopped = self._looks % _STOPPED_EVERY_LOOKS == 0 or self._events != dict(newest_events)
        listed = self._list(services, "RUNNING")
        ended = self._list(services, "STOPPED") if with_stopped else None
        owners = self._describe(services, listed, ended)
        if ended is not None:
            self._forget(keep={*listed, *ended})
        self._looks += 1
        self._events = dict(newest_events)
        found: dict[str, list[Worker]] = {service: [] for service in services}
        for known in self._known.values():
            if known.service in found:
                found[known.service].append(known.worker)
        for arn in listed:
            if arn not in self._known and owners.get(arn) in found:
                found[owners[arn]].append(Worker(arn=arn, phase=Phase.UNKNOWN))
        return self._with_protection(found)

    def _list(self, services: AbstractSet[str], status: Literal["RUNNING", "STOPPED"]) -> dict[str, str]:
        """Return the tasks' ARNs with the service they are known to belong to, "" when that is not known.

        One list of the whole cluster is asked for while it takes fewer requests than one list per service.
        """
        if len(services) > 1 and self._pages_of_all <= len(services):
            arns, pages = self._pages(None, status)
            if status == "RUNNING":
                self._pages_of_all = pages
            return dict.fromkeys(arns, "")
        return self._list_each(services, status)

    def _list_each(self, services: AbstractSet[str], status: Literal["RUNNING", "STOPPED"]) -> dict[str, str]:
        return {arn: service for service in sorted(services) for arn in self._pages(service, status)[0]}

    def _pages(self, service: str | None, status: Literal["RUNNING", "STOPPED"]) -> tuple[list[str], int]:
        lists = self._client.get_paginator("list_tasks")
        if service is None:
            pages = lists.paginate(cluster=self._cluster, desiredStatus=status)
        else:
            pages = lists.paginate(cluster=self._cluster, serviceName=service, desiredStatus=status)
        arns: list[str] = []
        asked = 0
        iterator = iter(pages)
        while True:
            self._spend("ListTasks")
            page = next(iterator)
            arns += page["taskArns"]
            asked += 1
            if not page.get("nextToken"):
                return arns, asked

    def _describe(
        self, services: AbstractSet[str], listed: Mapping[str, str], ended: Mapping[str, str] | None
    ) -> dict[str, str]:
        """Learn what may have changed; return whom the listed tasks belong to."""
        gone = [
            arn for arn, known in self._known.items() if known.service not in services and arn not in listed
        ]
        for arn in gone:  # another service's: nobody asks how it ended
            del self._known[arn]
        running = {arn for arn in listed if self._phase_of(arn) is Phase.RUNNING}
        left = [
            arn
            for arn, known in self._known.items()
            if arn not in listed and known.service in services and known.worker.phase is not Phase.STOPPED
        ]
        stopped = [arn for arn in ended or () if self._phase_of(arn) is not Phase.STOPPED]
        wanted = list(dict.fromkeys([*(arn for arn in listed if arn not in running), *left, *stopped]))
        seen: set[str] = set()
        for batch in _batches(wanted):
            self._spend("DescribeTasks")
            answer = self._client.describe_tasks(cluster=self._cluster, tasks=list(batch))
            for task in answer["tasks"]:
                if "taskArn" in task:
                    seen.add(task["taskArn"])
                    self._known[task["taskArn"]] = _Known(service=service_of(task), worker=to_worker(task))
        owners = {arn: self._known[arn].service if arn in self._known else listed[arn] for arn in listed}
        for arn in set(wanted) - seen:
            self._known.pop(arn, None)
        if any(not owner and arn not in self._known for arn, owner in owners.items()):
            owners |= self._list_each(services, "RUNNING")  # a task nobody could describe is somebody's
        return owners

    def _phase_of(self, arn: str) -> Phase | None:
        known = self._known.get(arn)
        return known.worker.phase if known is not None else None

    def _forget(self, keep: AbstractSet[str]) -> None:
        """Forget the stopped tasks that ECS itself forgot."""
        self._known = {
            arn: known
            for arn, known in self._known.items()
            if arn in keep or known.worker.phase is not Phase.STOPPED
        }

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
