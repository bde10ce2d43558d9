"""A cluster that is full of other people's tasks: the look stays whole, and within the quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sidecar.testing.fake_clock import FakeClock
from worker_scaler.budget import Budget
from worker_scaler.ecs import EcsServices
from worker_scaler.model import Phase, Sighting

from .fakes import NOON, fleet

PAGE_TASKS = 100


class CrowdedEcs:
    """Two services of one worker each, among others' running and stopped tasks; every request takes 30 ms."""

    def __init__(self, clock: FakeClock, *, running: int = 0, stopped: int = 0) -> None:
        self.clock = clock
        self.asked: Counter[str] = Counter()
        self.described: Counter[str] = Counter()
        self.own = ["own0", "own1"]
        self.running = [*self.own, *(f"running{n}" for n in range(running))]
        self.stopped = [f"stopped{n}" for n in range(stopped)]
        self.own_stopped: list[str] = []
        self.refuses_stopped = False
        self.event = "e1"

    def get_paginator(self, _name: str) -> CrowdedEcs:
        return self

    def paginate(self, *, cluster: str, desiredStatus: str, serviceName: str = "") -> Iterator[Any]:  # noqa: N803 - boto's names
        del cluster
        if serviceName:
            own = [self.own[int(serviceName[-1])]] if desiredStatus == "RUNNING" else self.own_stopped
            return self._pages(own, desiredStatus)
        return self._pages(
            self.running if desiredStatus == "RUNNING" else [*self.own_stopped, *self.stopped], desiredStatus
        )

    def _pages(self, arns: Sequence[str], status: str) -> Iterator[Any]:
        starts = range(0, max(len(arns), 1), PAGE_TASKS)
        for start in starts:
            self._take("ListTasks")
            if status == "STOPPED" and self.refuses_stopped:
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, "ListTasks")
            more = {} if start == starts[-1] else {"nextToken": "more"}
            yield {"taskArns": list(arns[start : start + PAGE_TASKS]), **more}

    def describe_services(self, *, cluster: str, services: list[str]) -> Any:
        del cluster
        self._take("DescribeServices")
        facts = {"status": "ACTIVE", "desiredCount": 1, "deployments": [], "events": [{"id": self.event}]}
        return {"services": [{"serviceName": name, **facts} for name in services]}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> Any:
        del cluster
        self._take("DescribeTasks")
        self.described.update(tasks)
        return {"tasks": [self._task(arn) for arn in tasks]}

    def _task(self, arn: str) -> dict[str, str]:
        status = "RUNNING" if arn in self.running else "STOPPED"
        group = f"service:w{arn[-1]}" if arn.startswith(("own", "gone")) else "family:x"
        return {"taskArn": arn, "lastStatus": status, "desiredStatus": status, "group": group}

    def get_task_protection(self, *, cluster: str, tasks: list[str]) -> Any:
        del cluster
        self._take("GetTaskProtection")
        return {"protectedTasks": [{"taskArn": arn, "protectionEnabled": False} for arn in tasks]}

    def _take(self, action: str) -> None:
        self.asked[action] += 1
        self.clock.advance(0.03)


FLEETS = [fleet(name=f"f{n}", service=f"w{n}") for n in range(2)]


def looks(ecs: CrowdedEcs, count: int) -> list[dict[str, Sighting]]:
    services = EcsServices(ecs, Budget(ecs.clock))  # type: ignore[arg-type]  # as much of boto3 as is used
    found = []
    for _ in range(count):
        seen = services.look_all(FLEETS)
        found.append({name: one for name, one in seen.items() if isinstance(one, Sighting)})
        ecs.clock.advance(10)
    return found


@pytest.mark.parametrize(("running", "stopped"), [(0, 5_500), (50, 5_500), (5_500, 50), (5_500, 5_500)])
def test_other_peoples_tasks_never_hide_ours(running: int, stopped: int) -> None:
    ecs = CrowdedEcs(FakeClock(NOON), running=running, stopped=stopped)

    for seen in looks(ecs, 40):
        assert [one.count(Phase.RUNNING) for one in seen.values()] == [1, 1]


def test_stopped_tasks_of_others_are_not_described_and_running_ones_once() -> None:
    ecs = CrowdedEcs(FakeClock(NOON), running=50, stopped=5_500)

    looks(ecs, 40)

    assert not [arn for arn in ecs.described if arn.startswith("stopped")]
    assert max(ecs.described.values()) == 1


def test_how_workers_ended_is_told_later_when_it_cannot_be_asked_and_nothing_else_waits_for_it() -> None:
    ecs = CrowdedEcs(FakeClock(NOON))
    ecs.own_stopped = ["gone0"]
    ecs.refuses_stopped = True
    services = EcsServices(ecs, Budget(ecs.clock))  # type: ignore[arg-type]  # as much of boto3 as is used

    first = services.look_all(FLEETS)["f0"]
    ecs.refuses_stopped = False
    second = services.look_all(FLEETS)["f0"]

    assert isinstance(first, Sighting)
    assert isinstance(second, Sighting)
    assert [worker.phase for worker in first.workers] == [Phase.RUNNING]
    assert [worker.phase for worker in second.workers] == [Phase.RUNNING, Phase.STOPPED]
