"""The simulator's small ECS does what local_ecs' virtual one does, whatever is asked of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import given, settings, strategies as st

from local_ecs.model import Rules, StartDelay
from local_ecs.virtual import VirtualEcs
from worker_scaler.simulate.ecs import Service, StartLatency, Status, Task

T = TypeVar("T")

START_SECONDS = 60.0
CLUSTER, SERVICE = "main", "workers"


class FirstOfAll(random.Random):
    """Chance without chance: the first are chosen, and numbers only count up."""

    def __init__(self) -> None:
        super().__init__(0)
        self._bits = 0

    def sample(self, population: Any, k: int, *, counts: Any = None) -> list[Any]:
        return list(population)[:k]

    def lognormvariate(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return 1.0

    def getrandbits(self, k: int, /) -> int:
        self._bits += 1
        return self._bits


class Ours:
    """The simulator's service, with a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tasks: list[Task] = []
        self.service = Service(
            dice=FirstOfAll(),
            latency=StartLatency(median_seconds=START_SECONDS, sigma=0.0),
            slots=16,
            will_start=self.tasks.append,
            stops=lambda task: self.service.gone(task, self.now),
        )

    def desired(self, count: int) -> None:
        self.service.set_desired(count, self.now)

    def protect(self, number: int, minutes: int) -> str | None:
        return self.service.protect(self.tasks[number].id, minutes * 60.0, self.now)

    def unprotect(self, number: int) -> str | None:
        return self.service.unprotect(self.tasks[number].id, self.now)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while moments := [moment for moment in self._moments() if self.now < moment <= end]:
            self.now = min(moments)
            for task in self.tasks:
                if task.status is Status.STARTING and task.due_at <= self.now:
                    self.service.started(task, self.now)
            self.service.settle(self.now)
        self.now = end

    def _moments(self) -> list[float]:
        alive = [task for task in self.tasks if task.status is not Status.STOPPED]
        starting = [task.due_at for task in alive if task.status is Status.STARTING]
        return starting + [task.protected_until for task in alive]

    def state(self) -> list[tuple[str, bool]]:
        names = {Status.STARTING: "starting", Status.RUNNING: "running", Status.STOPPED: "stopped"}
        return [(names[task.status], task.protected_until > self.now) for task in self.tasks]


class Theirs:
    """local_ecs on virtual time."""

    def __init__(self) -> None:
        delay = StartDelay(median_seconds=START_SECONDS, sigma=0.0)
        self.ecs = VirtualEcs(seed=0, rules=Rules(start_delay=delay))
        self.ecs.engine.dice = FirstOfAll()
        self.ecs.call("CreateCluster", clusterName=CLUSTER)
        container = {"name": "worker", "image": "airflow", "essential": True, "command": ["x"]}
        self.ecs.call("RegisterTaskDefinition", family="worker", containerDefinitions=[container])
        self.ecs.call(
            "CreateService", cluster=CLUSTER, serviceName=SERVICE, taskDefinition="worker", desiredCount=0
        )
        self._ids: list[str] = []

    def desired(self, count: int) -> None:
        self.ecs.call("UpdateService", cluster=CLUSTER, service=SERVICE, desiredCount=count)

    def protect(self, number: int, minutes: int) -> str | None:
        return self._update(number, protectionEnabled=True, expiresInMinutes=minutes)

    def unprotect(self, number: int) -> str | None:
        return self._update(number, protectionEnabled=False)

    def advance(self, seconds: float) -> None:
        self.ecs.advance(seconds)

    def state(self) -> list[tuple[str, bool]]:
        states = []
        for task_id in self.ids():
            task = self.ecs.engine.state.live.get(task_id)
            if task is None:
                states.append(("stopped", False))
            else:
                name = "running" if task.is_running else "starting"
                states.append((name, task.is_protected(self.ecs.now())))
        return states

    def ids(self) -> Sequence[str]:
        """In the order of their creation."""
        new = [task.id for task in self.ecs.engine.state.tasks() if task.id not in self._ids]
        self._ids += sorted(new, key=lambda task_id: int(task_id, 16))
        return self._ids

    def _update(self, number: int, **members: Any) -> str | None:
        answer = self.ecs.call("UpdateTaskProtection", cluster=CLUSTER, tasks=[self.ids()[number]], **members)
        reasons = [failure["reason"] for failure in answer["failures"]]
        return reasons[0] if reasons else None


calls = st.one_of(
    st.tuples(st.just("desired"), st.integers(0, 6)),
    st.tuples(st.just("protect"), st.integers(0, 9), st.integers(1, 5)),
    st.tuples(st.just("unprotect"), st.integers(0, 9)),
    st.tuples(st.just("advance"), st.integers(1, 200)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(calls, max_size=25))
def test_both_start_stop_protect_and_refuse_alike(sequence: list[tuple[Any, ...]]) -> None:
    ours, theirs = Ours(), Theirs()
    for name, *values in sequence:
        if name in ("protect", "unprotect") and values[0] >= len(ours.tasks):
            continue
        answers = [getattr(world, name)(*values) for world in (ours, theirs)]
        assert answers[0] == answers[1], (name, values)
        assert ours.state() == theirs.state(), (name, values)


def test_a_lowered_count_stops_at_random_and_never_who_is_protected() -> None:
    victims = set()
    for seed in range(20):
        started: list[Task] = []
        service = Service(
            dice=random.Random(seed),  # noqa: S311 - repeatable chance
            latency=StartLatency(),
            slots=16,
            will_start=started.append,
            stops=lambda _: None,
        )
        service.set_desired(5, 0.0)
        for task in started:
            service.started(task, task.due_at)
        assert service.protect(started[0].id, 600.0, 100.0) is None
        service.set_desired(1, 100.0)
        assert started[0].status is Status.RUNNING
        service.set_desired(0, 100.0)
        assert started[0].status is Status.RUNNING
        victims.add(tuple(task.status is Status.STOPPING for task in started))
    assert victims == {(False, True, True, True, True)}


def test_the_bill_begins_with_the_image_pull_and_is_a_minute_at_least() -> None:
    started: list[Task] = []
    service = Service(
        dice=FirstOfAll(),
        latency=StartLatency(median_seconds=50.0, sigma=0.0),
        slots=16,
        will_start=started.append,
        stops=lambda task: service.gone(task, 0.0),
    )
    service.set_desired(3, 0.0)
    first, second, third = started
    service.gone(first, 5.0)  # its network was being made
    service.gone(second, 20.0)
    service.gone(third, 210.0)
    assert service.billed_seconds == 0.0 + 60.0 + 200.0
