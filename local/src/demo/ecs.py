"""The demo as an ordinary ECS client: boto3, and the few local questions that ECS has no API for."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from demo.services import CLUSTER, Addresses, Service

if TYPE_CHECKING:
    from types_boto3_ecs.type_defs import TaskTypeDef

_TIMEOUT_SECONDS = 10
_KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Counts:
    """One service's numbers as DescribeServices has them."""

    desired: int
    running: int
    pending: int


class Ecs:
    """The cluster of the demo."""

    def __init__(self, at: Addresses, session: boto3.Session) -> None:
        self._url = at.ecs
        config = Config(connect_timeout=3, read_timeout=_TIMEOUT_SECONDS, retries={"total_max_attempts": 3})
        self.client = session.client("ecs", endpoint_url=at.ecs, config=config)

    def register(self, service: Service) -> str:
        """Register a task definition; return its ARN."""
        answer = self.client.register_task_definition(
            family=service.name,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="512",
            memory="1024",
            containerDefinitions=[
                {
                    "name": service.name,
                    "image": f"local/{service.name}",
                    "essential": True,
                    "command": service.command,
                    "environment": [{"name": k, "value": v} for k, v in sorted(service.environment.items())],
                    "stopTimeout": service.stop_timeout_seconds,
                }
            ],
        )
        return answer["taskDefinition"]["taskDefinitionArn"]

    def create(self, service: Service) -> None:
        """Create a service that runs ``service.desired`` tasks."""
        self.client.create_service(
            cluster=CLUSTER,
            serviceName=service.name,
            taskDefinition=self.register(service),
            desiredCount=service.desired,
        )

    def run(self, service: Service) -> str:
        """Run a one-off task; return its ARN."""
        answer = self.client.run_task(cluster=CLUSTER, taskDefinition=self.register(service), count=1)
        return answer["tasks"][0]["taskArn"]

    def task(self, arn: str) -> TaskTypeDef:
        """Return one task."""
        return self.client.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]

    def scale(self, name: str, desired: int) -> None:
        """Set a service's desired count."""
        self.client.update_service(cluster=CLUSTER, service=name, desiredCount=desired)

    def counts(self, name: str) -> Counts:
        """Return a service's counts."""
        service = self.client.describe_services(cluster=CLUSTER, services=[name])["services"][0]
        return Counts(service["desiredCount"], service["runningCount"], service["pendingCount"])

    def stopped(self, name: str) -> list[TaskTypeDef]:
        """Return a service's tasks that were told to stop; some may still be stopping."""
        arns = self.client.list_tasks(cluster=CLUSTER, serviceName=name, desiredStatus="STOPPED")["taskArns"]
        return self.client.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"] if arns else []

    def kill_dash_nine(self, name: str) -> int | None:
        """SIGKILL the main process of a service's (or family's) running task; return its pid."""
        with urllib.request.urlopen(f"{self._url}/_local/tasks", timeout=_TIMEOUT_SECONDS) as answer:
            tasks: list[dict[str, Any]] = json.load(answer)
        for task in tasks:
            if name in (task.get("service"), task.get("family")) and task.get("mainPid"):
                os.kill(task["mainPid"], signal.SIGKILL)
                return int(task["mainPid"])
        return None


def exit_code(task: TaskTypeDef) -> int | None:
    """Return the exit code of a stopped task's only container."""
    return task["containers"][0].get("exitCode")


def was_killed(task: TaskTypeDef) -> bool:
    """Return whether a stopped task ended by SIGKILL."""
    return exit_code(task) == _KILLED
