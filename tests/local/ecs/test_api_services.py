from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from .http import send

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

Advance = Callable[[float], None]
Running = Callable[[int], list[str]]


def described(client: ECSClient) -> Any:
    return client.describe_services(cluster="main", services=["workers"])["services"][0]


def counts(client: ECSClient) -> tuple[int, int, int]:
    service = described(client)
    return service["desiredCount"], service["runningCount"], service["pendingCount"]


def test_a_service_starts_its_tasks_after_the_start_delay(client: ECSClient, advance: Advance) -> None:
    client.create_service(cluster="main", serviceName="workers", taskDefinition="worker", desiredCount=3)
    assert counts(client) == (3, 0, 3)
    advance(9)
    assert counts(client) == (3, 0, 3)
    advance(1)
    assert counts(client) == (3, 3, 0)
    assert described(client)["events"][0]["message"] == "(service workers) has reached a steady state."


def test_what_a_service_was_created_with_is_given_back(client: ECSClient) -> None:
    network: Any = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}}
    client.create_service(
        cluster="main",
        serviceName="workers",
        taskDefinition="worker",
        launchType="FARGATE",
        networkConfiguration=network,
        availabilityZoneRebalancing="DISABLED",
        deploymentConfiguration={"maximumPercent": 150, "minimumHealthyPercent": 50},
        enableExecuteCommand=True,
        tags=[{"key": "team", "value": "data"}],
    )
    answer = client.describe_services(cluster="main", services=["workers"], include=["TAGS"])["services"][0]
    assert answer["networkConfiguration"] == network
    assert answer["availabilityZoneRebalancing"] == "DISABLED"
    assert answer["deploymentConfiguration"]["maximumPercent"] == 150
    assert answer["tags"] == [{"key": "team", "value": "data"}]


def test_creating_the_same_service_twice_is_allowed_and_another_of_its_name_is_not(client: ECSClient) -> None:
    for _ in range(2):
        client.create_service(cluster="main", serviceName="workers", taskDefinition="worker", desiredCount=1)
    with pytest.raises(client.exceptions.InvalidParameterException, match="not idempotent"):
        client.create_service(cluster="main", serviceName="workers", taskDefinition="worker", desiredCount=2)


def test_the_desired_count_is_absolute_and_no_deployment(client: ECSClient, running: Running) -> None:
    running(2)
    before = described(client)["deployments"][0]["id"]
    client.update_service(cluster="main", service="workers", desiredCount=5)
    assert counts(client) == (5, 2, 3)
    client.update_service(cluster="main", service="workers", desiredCount=0)
    assert counts(client) == (0, 0, 0)
    assert [deployment["id"] for deployment in described(client)["deployments"]] == [before]


def test_a_task_that_dies_is_replaced(
    client: ECSClient, running: Running, url: str, advance: Advance
) -> None:
    dead = running(2)[0]
    advance(60)
    send("POST", f"{url}/_local/tasks/{dead.rsplit('/', 1)[-1]}/exit", {"exitCode": 137})
    assert counts(client) == (2, 1, 1)
    ended = client.describe_tasks(cluster="main", tasks=[dead])["tasks"][0]
    assert (ended["stopCode"], ended["containers"][0]["exitCode"]) == ("EssentialContainerExited", 137)
    advance(10)
    assert counts(client) == (2, 2, 0)


def test_a_new_definition_replaces_every_task_and_leaves_one_deployment(
    client: ECSClient, running: Running, advance: Advance
) -> None:
    old = set(running(2))
    client.register_task_definition(family="worker", containerDefinitions=[{"name": "main", "image": "two"}])
    client.update_service(cluster="main", service="workers", taskDefinition="worker:2")
    during = described(client)
    assert [(each["status"], each["runningCount"]) for each in during["deployments"]] == [
        ("PRIMARY", 0),
        ("ACTIVE", 2),
    ]
    advance(11)
    after = described(client)
    assert [(each["rolloutState"], each["runningCount"]) for each in after["deployments"]] == [
        ("COMPLETED", 2)
    ]
    assert old.isdisjoint(client.list_tasks(cluster="main")["taskArns"])


def test_a_forced_deployment_leaves_protected_tasks_until_their_protection_ends(
    client: ECSClient, running: Running, advance: Advance
) -> None:
    old = running(2)
    client.update_task_protection(cluster="main", tasks=[old[0]], protectionEnabled=True, expiresInMinutes=30)
    client.update_service(cluster="main", service="workers", forceNewDeployment=True)
    advance(60)
    assert counts(client) == (2, 3, 0)
    assert old[0] in client.list_tasks(cluster="main")["taskArns"]
    assert "under protection" in described(client)["events"][0]["message"]
    advance(30 * 60)
    assert counts(client) == (2, 2, 0)
    assert described(client)["deployments"][0]["rolloutState"] == "COMPLETED"


def test_a_service_whose_tasks_crash_is_started_ever_more_slowly(
    client: ECSClient, url: str, advance: Advance
) -> None:
    client.create_service(cluster="main", serviceName="workers", taskDefinition="worker", desiredCount=1)
    for _ in range(3):
        advance(10)
        (task,) = client.list_tasks(cluster="main")["taskArns"]
        send("POST", f"{url}/_local/tasks/{task.rsplit('/', 1)[-1]}/exit", {"exitCode": 1})
    assert counts(client) == (1, 0, 0)
    assert "unable to consistently start tasks" in described(client)["events"][0]["message"]
    advance(5)
    assert counts(client) == (1, 0, 1)


def test_a_scaled_up_service_is_deleted_by_force_only(client: ECSClient, running: Running) -> None:
    tasks = running(2)
    client.update_task_protection(cluster="main", tasks=tasks[:1], protectionEnabled=True)
    with pytest.raises(client.exceptions.InvalidParameterException, match="scaled above 0"):
        client.delete_service(cluster="main", service="workers")
    client.delete_service(cluster="main", service="workers", force=True)
    assert described(client)["status"] == "INACTIVE"
    assert client.list_tasks(cluster="main")["taskArns"] == []
    with pytest.raises(client.exceptions.ServiceNotActiveException):
        client.update_service(cluster="main", service="workers", desiredCount=1)


def test_services_are_listed_page_by_page(client: ECSClient) -> None:
    names = [f"service-{number:02d}" for number in range(25)]
    for name in names:
        client.create_service(cluster="main", serviceName=name, taskDefinition="worker", desiredCount=0)
    pages = list(client.get_paginator("list_services").paginate(cluster="main"))
    assert [len(page["serviceArns"]) for page in pages] == [10, 10, 5]
    assert [arn.rsplit("/", 1)[-1] for page in pages for arn in page["serviceArns"]] == names


def test_unknown_things_are_the_errors_that_boto3_maps(client: ECSClient) -> None:
    with pytest.raises(client.exceptions.ClusterNotFoundException):
        client.describe_services(cluster="nowhere", services=["workers"])
    with pytest.raises(client.exceptions.ServiceNotFoundException):
        client.update_service(cluster="main", service="workers", desiredCount=1)
    with pytest.raises(client.exceptions.ServiceNotFoundException):
        client.delete_service(cluster="main", service="workers")
    missing = client.describe_services(cluster="main", services=["workers"])
    assert missing["services"] == []
    assert missing["failures"][0]["reason"] == "MISSING"


def test_more_than_ten_services_are_not_described_at_once(client: ECSClient) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException, match="more than 10"):
        client.describe_services(cluster="main", services=[f"s{number}" for number in range(11)])
