"""Fifty services with five hundred workers on one scaler, within half of what ECS allows an account."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from local_ecs.api import Api
from local_ecs.clock import SystemClock
from local_ecs.engine import Engine
from local_ecs.runtimes.virtual import VirtualRuntime
from local_ecs.testing import served
from local_ecs.throttle import BUCKETS, Throttle
from sidecar.aws import Aws
from sidecar.errors import Transient
from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock
from sidecar.testing.waiting import wait_until
from worker_scaler.budget import QUOTAS, SHARE_OF_QUOTA, Budget, Urgency
from worker_scaler.cycle import Cycle
from worker_scaler.ecs import EcsServices
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.model import Phase, QueueDepth, Reading, Sighting

from .fakes import NOON, fleet

SERVICES = 50
WORKERS_EACH = 10
TICK_SECONDS = 10.0


class HalfThrottle(Throttle):
    """The account's quota, of which somebody else uses half already; counts what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def take(self, action: str, now: datetime) -> None:
        if action in BUCKETS:
            self.asked[action] += 1


class AllBusy:
    """A source whose fleets all have work for their workers."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.tasks_each = WORKERS_EACH

    def read(self) -> Reading:
        queues = {f"q{index}": QueueDepth(queued=self.tasks_each) for index in range(SERVICES)}
        return Reading(taken_at=self.clock.now(), queues=queues)


class Account:
    """An ECS with one cluster and many services, and a scaler for all of them."""

    def __init__(self, client: BaseClient, throttle: HalfThrottle) -> None:
        self.throttle = throttle
        self.clock = FakeClock(NOON)
        self.budget = Budget(self.clock)
        self.source = AllBusy(self.clock)
        aws = Aws(service="worker-scaler", version="0")
        self.services = EcsServices(aws.session.client("ecs", config=aws.config(attempts=1)), self.budget)
        self.fleets = [
            fleet(
                name=f"f{index}",
                service=f"workers-{index}",
                queues=(f"q{index}",),
                tasks_per_worker=1,
                reading_max_age=timedelta(days=1),
            )
            for index in range(SERVICES)
        ]
        self.client: Any = client
        self.cycle = Cycle(
            fleets=self.fleets,
            services=self.services,
            source=self.source,
            clock=self.clock,
            events=Events(
                Telemetry(service="worker-scaler", version="0", clock=self.clock),
                [each.name for each in self.fleets],
            ),
            explanations=Explanations(dry_run=False),
            rng=random.Random(1),  # noqa: S311 - repeatable chance
            budget=self.budget,
        )

    def create(self) -> None:
        self.client.create_cluster(clusterName="main")
        self.client.register_task_definition(
            family="w", containerDefinitions=[{"name": "worker", "image": "airflow"}]
        )
        for each in self.fleets:
            self.client.create_service(
                cluster="main", serviceName=each.service, taskDefinition="w", desiredCount=0
            )

    async def tick(self) -> dict[str, int]:
        """Tick once; return the requests that it took, by action."""
        before = Counter(self.throttle.asked)
        try:
            await self.cycle.tick()
        except Transient:
            assert sum(self.budget.deferred.values()), "only the budget may hold anything back"
        self.clock.advance(TICK_SECONDS)
        return dict(self.throttle.asked - before)

    def desired(self) -> int:
        seen = EcsServices(self.client).look_all(self.fleets).values()
        assert all(isinstance(one, Sighting) for one in seen)
        return sum(one.desired for one in seen if isinstance(one, Sighting))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    throttle = HalfThrottle()
    engine = Engine(runtime=VirtualRuntime(), clock=SystemClock(), dice=random.Random(7))  # noqa: S311 - repeatable
    with served(Api(engine, throttle=throttle)) as url:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_ECS": url,
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.Session().client("ecs")
        made = Account(client, throttle)
        made.create()
        yield made
        client.close()


async def test_fifty_services_and_five_hundred_workers_are_steered_within_half_the_quota(
    account: Account,
) -> None:
    ticks = [await account.tick(), await account.tick()]
    assert account.desired() == SERVICES * WORKERS_EACH, "all were scaled out within two ticks"
    wait_until(lambda: running(account) == SERVICES * WORKERS_EACH, "all run", deadline_seconds=60)
    ticks += [await account.tick() for _ in range(4)]

    for asked in ticks:
        for action, count in asked.items():
            quota = QUOTAS[action]
            allowed = SHARE_OF_QUOTA * (quota.burst + quota.per_second * TICK_SECONDS)
            assert count <= allowed, (action, count, allowed)

    steady = await account.tick()
    assert steady == {"DescribeServices": 5, "ListTasks": 5, "GetTaskProtection": 5}
    per_second = sum(steady.values()) / TICK_SECONDS
    assert per_second <= 1.5


def running(account: Account) -> int:
    seen = EcsServices(account.client).look_all(account.fleets).values()
    return sum(one.count(Phase.RUNNING) for one in seen if isinstance(one, Sighting))


# ---------------------------------------------------------------- the budget


def test_the_budget_is_half_the_quota_and_refills() -> None:
    clock = FakeClock(NOON)
    budget = Budget(clock)
    for _ in range(25):
        budget.spend("UpdateService", Urgency.SCALE_OUT)
    with pytest.raises(Transient, match="left for the next tick"):
        budget.spend("UpdateService", Urgency.SCALE_OUT)

    clock.advance(1)
    budget.spend("UpdateService", Urgency.SCALE_OUT)
    budget.spend("UpdateService", Urgency.SCALE_OUT)
    assert budget.spent["UpdateService"] == 27
    assert budget.deferred["UpdateService"] == 1


@pytest.mark.parametrize(
    ("action", "first", "last"),
    [
        ("UpdateService", Urgency.SCALE_OUT, Urgency.SCALE_IN),
        ("UpdateTaskProtection", Urgency.PROTECT, Urgency.SCALE_IN),
        ("GetTaskProtection", Urgency.PROTECT, Urgency.LOOK),
    ],
)
def test_the_less_urgent_leave_a_rest_to_the_more_urgent(action: str, first: Urgency, last: Urgency) -> None:
    budget = Budget(FakeClock(NOON))
    while not budget.deferred[action]:
        with contextlib.suppress(Transient):
            budget.spend(action, last)
    spent = budget.spent[action]

    budget.spend(action, first)

    assert budget.spent[action] == spent + 1


def test_the_quotas_are_those_that_ecs_documents() -> None:
    """Kept beside the ones that local_ecs throttles by."""
    for action, quota in QUOTAS.items():
        assert (BUCKETS[action].burst, BUCKETS[action].per_second) == (quota.burst, quota.per_second)
