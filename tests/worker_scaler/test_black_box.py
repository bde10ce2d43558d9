"""The real process on a real PostgreSQL and an ECS that misbehaves, killed and started again at random."""

from __future__ import annotations

import contextlib
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local_ecs.api import Api
from local_ecs.clock import SystemClock
from local_ecs.engine import Engine
from local_ecs.model import Rules, StartDelay
from local_ecs.testing import served
from sidecar.testing.plugin import SidecarProcess
from sidecar.testing.waiting import wait_until

from .chaos import SLOTS, Chaos, LoopbackRuntime, agents_of
from .conftest import AirflowDatabase

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SERVICE = "workers"
STEPS = 400
FAULTS: list[dict[str, Any]] = [
    {"action": "*", "kind": "throttle", "probability": 0.1},
    {"action": "*", "kind": "error", "probability": 0.05},
    {"action": "DescribeTasks", "kind": "partial", "probability": 0.2},
    {"action": "GetTaskProtection", "kind": "partial", "probability": 0.2},
    {"action": "UpdateTaskProtection", "kind": "partial", "probability": 0.2},
]

Start = Callable[..., SidecarProcess]


class Ecs:
    """An ECS on loopback with one service, and its faults."""

    def __init__(self, url: str) -> None:
        self.url = url
        config = Config(retries={"total_max_attempts": 1, "mode": "standard"})
        self.client = boto3.Session().client("ecs", config=config)
        self.client.create_cluster(clusterName="main")
        self.client.register_task_definition(
            family=SERVICE, containerDefinitions=[{"name": "worker", "image": "airflow", "stopTimeout": 2}]
        )
        self.client.create_service(
            cluster="main", serviceName=SERVICE, taskDefinition=SERVICE, desiredCount=0
        )

    def misbehave(self) -> None:
        self._send("POST", FAULTS)

    def behave(self) -> None:
        self._send("DELETE", None)

    def deploy(self) -> None:
        with contextlib.suppress(Exception):  # it may be throttled too
            self.client.update_service(cluster="main", service=SERVICE, forceNewDeployment=True)

    def _send(self, method: str, body: Any) -> None:
        for one in body or [None]:
            data = json.dumps(one).encode() if one else None
            request = urllib.request.Request(f"{self.url}/_local/faults", data=data, method=method)  # noqa: S310 - loopback
            urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - loopback


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecs]:
    rules = Rules(start_delay=StartDelay(median_seconds=0.5, sigma=0.3))
    engine = Engine(runtime=LoopbackRuntime(), clock=SystemClock(), dice=random.Random(7), rules=rules)  # noqa: S311 - repeatable
    with served(Api(engine)) as url:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_ECS": url,
        }.items():
            monkeypatch.setenv(name, value)
        made = Ecs(url)
        yield made
        made.client.close()


def environment(database: AirflowDatabase, agent_port: int | None) -> dict[str, str]:
    given = {
        "name": "heavy",
        "cluster": "main",
        "service": SERVICE,
        "queues": ["heavy"],
        "tasks_per_worker": SLOTS,
        "max_workers": 8,
        "scale_in_window_seconds": 1,
    }
    return {
        "WORKER_SCALER_DATABASE_URL": database.url,
        "WORKER_SCALER_FLEETS": json.dumps([given | ({"agent_port": agent_port} if agent_port else {})]),
        "WORKER_SCALER_INTERVAL_SECONDS": "0.3",
        "WORKER_SCALER_MINIMUM_WORKER_AGE_SECONDS": "0",
        "WORKER_SCALER_HTTP_PORT": "0",
    }


@pytest.mark.parametrize(("tier", "seed"), [("database", 1), ("agents", 2)])
def test_whatever_happens_no_busy_worker_is_stopped_and_the_count_covers_them(
    tier: str, seed: int, ecs: Ecs, airflow_database: AirflowDatabase, start_sidecar: Start
) -> None:
    dice = random.Random(seed)  # noqa: S311 - repeatable chance
    has_agents = tier == "agents"
    world = Chaos(
        client=ecs.client, service=SERVICE, database=airflow_database.url, seed=seed, has_agents=has_agents
    )
    with contextlib.closing(world), agents_of(world) as port:
        settings = environment(airflow_database, port if has_agents else None)
        scaler = start_sidecar("worker_scaler", settings=settings)
        world.queue(6)
        wait_until(lambda: is_at_work(world), "work begins", deadline_seconds=60)
        ecs.misbehave()
        for _ in range(STEPS):
            world.move()
            world.look()
            chance = dice.random()
            if chance < 0.05:
                world.queue(dice.randint(1, 4))
            elif chance < 0.07:
                world.lose_a_worker()
            elif chance < 0.08 and has_agents:
                ecs.deploy()
            elif chance < 0.10:
                world.a_strange_host(is_there=chance < 0.085)
            elif chance < 0.12:
                scaler.kill_dash_nine()
                scaler = start_sidecar("worker_scaler", settings=settings)
        assert world.violations == []

        ecs.behave()
        world.a_strange_host(is_there=False)
        assert_answered_in_two_ticks(world, scaler)
        assert_gone_when_nothing_is_left(world)
    assert world.violations == []
    assert world.looks > STEPS
    assert world.lowered > 0, "something was scaled in"
    assert '"event": "tasks_lost_to_scale_in"' not in scaler.text()
    scaler.terminate()


def is_at_work(world: Chaos) -> bool:
    world.move()
    return world.busy() > 0


def decisions(scaler: SidecarProcess) -> int:
    """How many ticks looked at something: the process tells each that changes something."""
    return scaler.text().count('"event": "decided"')


def assert_answered_in_two_ticks(world: Chaos, scaler: SidecarProcess) -> None:
    """A burst is answered with the exact count, at once."""
    before = decisions(scaler)
    world.queue(8 * SLOTS)
    wait_until(lambda: world.desired() == 8, "the exact count", deadline_seconds=30)
    assert decisions(scaler) - before <= 3  # one may have been under way


def assert_gone_when_nothing_is_left(world: Chaos) -> None:
    def is_empty() -> bool:
        world.move()
        world.look()
        return world.desired() == 0

    wait_until(is_empty, "no worker for no task", deadline_seconds=120)
