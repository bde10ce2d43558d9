"""Protection by the agent endpoint of local_ecs: before work begins, taken off when idle, refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from local_ecs.api import Api
from local_ecs.clock import SystemClock
from local_ecs.engine import Engine
from local_ecs.runtimes.virtual import VirtualRuntime
from local_ecs.testing import served
from sidecar.testing.waiting import wait_until

from .workers import AIRFLOW_PYTHON, Stage, Worker, request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]

CLUSTER = "airflow"
SERVICE = "worker"


class EcsTask:
    """A task of a service of one, as its own container and as its scaler see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = boto3.client(
            "ecs", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="t", aws_secret_access_key="t"
        )
        self.client.create_cluster(clusterName=CLUSTER)
        self.client.register_task_definition(
            family="worker", containerDefinitions=[{"name": "main", "image": "worker", "command": ["work"]}]
        )
        self.client.create_service(
            cluster=CLUSTER, serviceName=SERVICE, taskDefinition="worker", desiredCount=1
        )
        wait_until(lambda: self.found()["lastStatus"] == "RUNNING", "the task")
        self.arn = self.found()["taskArn"]
        task_id = self.found()["taskId"]
        self.environment = {
            "ECS_AGENT_URI": f"{url}/agent/{task_id}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{url}/metadata/{task_id}",
        }

    def found(self) -> dict[str, Any]:
        tasks = request("GET", f"{self.url}/_local/tasks")[1]
        assert isinstance(tasks, list)
        return tasks[0] if tasks else {"lastStatus": "NONE"}

    def is_protected(self) -> bool:
        return self.found()["protectedUntil"] is not None

    def scale_to(self, desired: int) -> None:
        self.client.update_service(cluster=CLUSTER, service=SERVICE, desiredCount=desired)


@pytest.fixture
def ecs_task() -> Iterator[EcsTask]:
    engine = Engine(runtime=VirtualRuntime(), clock=SystemClock(), dice=random.Random(1))  # noqa: S311  # chance that can be repeated
    with served(Api(engine)) as url:
        task = EcsTask(url)
        yield task
        task.client.close()


def test_a_task_begins_under_a_confirmed_protection_that_is_taken_off_when_idle(
    stage: Stage, ecs_task: EcsTask
) -> None:
    release = {"AIRFLOW_ECS_WORKER_AGENT_RELEASE_AFTER_SECONDS": "1"}
    with Worker(stage, "default", wait_seconds=1, environment={**ecs_task.environment, **release}) as worker:
        worker.ready()
        assert worker.state()["task_arn"] == ecs_task.arn
        assert not ecs_task.is_protected()
        stage.send((1, 3.0, "default"))
        wait_until(lambda: stage.runs()[1], "the task to begin", deadline_seconds=90)
        assert ecs_task.is_protected()
        assert worker.state()["protected_until"]
        wait_until(lambda: stage.ended() == {1}, "the task to end", deadline_seconds=90)
        wait_until(lambda: not ecs_task.is_protected(), "the protection to be taken off", deadline_seconds=90)
        assert worker.state()["protected_until"] is None


def test_under_an_order_the_protection_is_the_scalers_to_take_away(stage: Stage, ecs_task: EcsTask) -> None:
    release = {"AIRFLOW_ECS_WORKER_AGENT_RELEASE_AFTER_SECONDS": "0"}
    with Worker(stage, "default", wait_seconds=1, environment={**ecs_task.environment, **release}) as worker:
        worker.ready()
        worker.order("work")
        stage.send((1, 0.0, "default"))
        wait_until(lambda: stage.ended() == {1}, "the task", deadline_seconds=90)
        worker.order("cordon")
        worker.phase("quiet")
        assert ecs_task.is_protected()
        ecs_task.client.update_task_protection(cluster=CLUSTER, tasks=[ecs_task.arn], protectionEnabled=False)
        worker.order(
            "work"
        )  # the scaler thought better of it: what it took off must not be taken for granted
        stage.send((2, 2.0, "default"))
        wait_until(lambda: stage.runs()[2], "the second task", deadline_seconds=90)
        assert ecs_task.is_protected()


def test_a_task_ecs_will_not_protect_goes_back_and_waits_for_a_worker_that_it_does(
    stage: Stage, ecs_task: EcsTask
) -> None:
    with Worker(stage, "default", wait_seconds=1, environment=ecs_task.environment) as worker:
        worker.ready()
        add_fault(ecs_task, {"action": "UpdateTaskProtection", "kind": "error"})
        stage.send((1, 0.0, "default"))
        wait_until(lambda: "ECS does not protect" in worker.text(), "the refusal", deadline_seconds=90)
        wait_until(lambda: stage.counts("default") == (1, 0), "the message to go back", deadline_seconds=90)
        assert not stage.runs()
        request("DELETE", f"{ecs_task.url}/_local/faults")
        wait_until(lambda: stage.ended() == {1}, "the task, once ECS says yes", deadline_seconds=60)


def test_a_dead_agent_endpoint_delays_a_task_by_seconds_and_does_not_kill_it(stage: Stage) -> None:
    dead = {"ECS_AGENT_URI": "http://127.0.0.1:9/agent"}
    with Worker(stage, "default", wait_seconds=1, environment=dead) as worker:
        worker.ready()
        stage.send((1, 0.0, "default"), (2, 0.0, "default"))
        wait_until(lambda: stage.ended() == {1, 2}, "the tasks", deadline_seconds=90)
        assert stage.runs() == {1: 1, 2: 1}
        metrics = request("GET", f"{worker.url}/metrics")[1]
        assert isinstance(metrics, str)
        assert "airflow_ecs_worker_tasks_unprotected_total 2" in metrics
        assert "The ECS agent does not answer" in worker.text()


def add_fault(task: EcsTask, fault: dict[str, object]) -> None:
    status, answer = request("POST", f"{task.url}/_local/faults", fault)
    assert status == 200, answer
