"""An ECS on virtual time behind a real port for each test, and boto3 clients whose answers are checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from local_ecs.model import Rules, StartDelay
from local_ecs.testing import served
from local_ecs.virtual import VirtualEcs

from .answers import unknown_members
from .http import send

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

START_SECONDS = 10.0


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    """One session: it reads botocore's model of ECS once."""
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")


@pytest.fixture
def connect(boto_session: boto3.Session) -> Iterator[Callable[..., ECSClient]]:
    """Make a client for a URL; at the end each answer must have had only members that botocore knows."""
    wrong: list[str] = []

    def check(operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
        if response_dict["status_code"] == 200:
            wrong.extend(unknown_members(operation_model.output_shape, json.loads(response_dict["body"])))

    clients = []

    def connected(url: str, read_timeout: float = 10) -> ECSClient:
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=read_timeout)
        client = boto_session.client("ecs", endpoint_url=url, config=config)
        client.meta.events.register("before-parse.ecs.*", check)
        clients.append(client)
        return client

    yield connected
    for client in clients:
        client.close()
    assert wrong == []


@pytest.fixture
def url() -> Iterator[str]:
    """Base URL of an ECS on virtual time in which a task takes ten seconds to start."""
    virtual = VirtualEcs(seed=1, rules=Rules(start_delay=StartDelay(median_seconds=START_SECONDS)))
    with served(virtual.api) as base:
        yield base


@pytest.fixture
def client(url: str, connect: Callable[..., ECSClient]) -> ECSClient:
    """A client of :func:`url`, with the cluster ``main`` and the task definition ``worker``."""
    made = connect(url)
    made.create_cluster(clusterName="main")
    made.register_task_definition(
        family="worker", containerDefinitions=[{"name": "main", "image": "worker", "command": ["work"]}]
    )
    return made


@pytest.fixture
def advance(url: str) -> Callable[[float], None]:
    """Let virtual time pass."""

    def passed(seconds: float) -> None:
        send("POST", f"{url}/_local/advance", {"seconds": seconds})

    return passed


@pytest.fixture
def running(client: ECSClient, advance: Callable[[float], None]) -> Callable[[int], list[str]]:
    """Create the service ``workers`` with so many running tasks; returns their ARNs."""

    def created(count: int) -> list[str]:
        client.create_service(
            cluster="main", serviceName="workers", taskDefinition="worker", desiredCount=count
        )
        advance(START_SECONDS)
        return client.list_tasks(cluster="main", serviceName="workers")["taskArns"]

    return created
