from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from .http import get, send

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

Advance = Callable[[float], None]
Running = Callable[[int], list[str]]


def one(client: ECSClient, arn: str) -> Any:
    return client.describe_tasks(cluster="main", tasks=[arn])["tasks"][0]


def test_a_task_goes_through_its_life_with_a_time_for_each_step(client: ECSClient, advance: Advance) -> None:
    started = client.run_task(cluster="main", taskDefinition="worker", startedBy="me")["tasks"][0]
    arn = started["taskArn"]
    assert (started["lastStatus"], started["group"], started["startedBy"]) == (
        "PROVISIONING",
        "family:worker",
        "me",
    )
    advance(2)
    assert one(client, arn)["lastStatus"] == "PENDING"
    advance(8)
    running = one(client, arn)
    assert running["lastStatus"] == "RUNNING"
    assert (running["startedAt"] - running["createdAt"]).total_seconds() == 10
    assert running["createdAt"] < running["pullStartedAt"] < running["pullStoppedAt"] <= running["startedAt"]
    advance(100)
    client.stop_task(cluster="main", task=arn, reason="enough")
    stopped = one(client, arn)
    assert (stopped["lastStatus"], stopped["desiredStatus"]) == ("STOPPED", "STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "enough")
    assert (stopped["stoppedAt"] - stopped["startedAt"]).total_seconds() == 100
    assert stopped["version"] > running["version"] > started["version"]


def test_a_running_task_shows_where_it_is(client: ECSClient, running: Running) -> None:
    (arn,) = running(1)
    task = one(client, arn)
    details = {each["name"]: each["value"] for each in task["attachments"][0]["details"]}
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert task["attachments"][0]["type"] == "ElasticNetworkInterface"
    assert details["privateIPv4Address"] == address
    assert details["privateDnsName"] == f"ip-{address.replace('.', '-')}.ec2.internal"
    assert task["containers"][0]["runtimeId"].startswith(arn.rsplit("/", 1)[-1])
    assert task["group"] == "service:workers"
    assert task["startedBy"].startswith("ecs-svc/")
    assert task["availabilityZone"].startswith("us-east-1")


def test_every_task_has_an_address_of_its_own(client: ECSClient, running: Running) -> None:
    tasks = client.describe_tasks(cluster="main", tasks=running(20))["tasks"]
    addresses = {task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for task in tasks}
    assert len(addresses) == 20


def test_a_client_token_starts_tasks_once(client: ECSClient) -> None:
    first = client.run_task(cluster="main", taskDefinition="worker", count=2, clientToken="t")
    again = client.run_task(cluster="main", taskDefinition="worker", count=2, clientToken="t")
    arns = [[task["taskArn"] for task in answer["tasks"]] for answer in (first, again)]
    assert arns[0] == arns[1]
    assert len(client.list_tasks(cluster="main")["taskArns"]) == 2
    with pytest.raises(client.exceptions.ConflictException):
        client.run_task(cluster="main", taskDefinition="worker", count=3, clientToken="t")


def test_overrides_are_given_back_and_must_name_a_container(client: ECSClient) -> None:
    overrides: Any = {"containerOverrides": [{"name": "main", "command": ["other"]}]}
    task = client.run_task(cluster="main", taskDefinition="worker", overrides=overrides)["tasks"][0]
    assert task["overrides"]["containerOverrides"] == overrides["containerOverrides"]
    with pytest.raises(client.exceptions.InvalidParameterException, match="nobody"):
        client.run_task(
            cluster="main", taskDefinition="worker", overrides={"containerOverrides": [{"name": "nobody"}]}
        )


def test_no_more_than_ten_tasks_are_run_at_once(client: ECSClient) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException, match="count"):
        client.run_task(cluster="main", taskDefinition="worker", count=11)


def test_tasks_are_listed_page_by_page(client: ECSClient, running: Running) -> None:
    running(230)
    pages = list(client.get_paginator("list_tasks").paginate(cluster="main", serviceName="workers"))
    arns = [arn for page in pages for arn in page["taskArns"]]
    assert [len(page["taskArns"]) for page in pages] == [100, 100, 30]
    assert len(set(arns)) == 230
    assert len(client.describe_tasks(cluster="main", tasks=arns[:100])["tasks"]) == 100
    with pytest.raises(client.exceptions.InvalidParameterException, match="more than 100"):
        client.describe_tasks(cluster="main", tasks=arns[:101])


def test_tasks_are_listed_by_service_family_and_desired_status(
    client: ECSClient, running: Running, advance: Advance
) -> None:
    of_service = running(2)
    client.register_task_definition(family="once", containerDefinitions=[{"name": "main", "image": "i"}])
    by_hand = client.run_task(cluster="main", taskDefinition="once")["tasks"][0]["taskArn"]
    client.stop_task(cluster="main", task=of_service[0])
    assert client.list_tasks(cluster="main", family="once")["taskArns"] == [by_hand]
    assert client.list_tasks(cluster="main", desiredStatus="STOPPED")["taskArns"] == [of_service[0]]
    assert client.list_tasks(cluster="main", desiredStatus="PENDING")["taskArns"] == []
    assert of_service[0] not in client.list_tasks(cluster="main", serviceName="workers")["taskArns"]
    with pytest.raises(client.exceptions.ServiceNotFoundException):
        client.list_tasks(cluster="main", serviceName="nobody")


def test_a_stopped_task_is_described_for_an_hour(
    client: ECSClient, running: Running, advance: Advance
) -> None:
    (arn,) = running(1)
    client.update_service(cluster="main", service="workers", desiredCount=0)
    advance(3599)
    assert one(client, arn)["stopCode"] == "ServiceSchedulerInitiated"
    advance(2)
    answer = client.describe_tasks(cluster="main", tasks=[arn])
    assert answer["tasks"] == []
    assert [(each["arn"], each["reason"]) for each in answer["failures"]] == [(arn, "MISSING")]


def test_stopping_a_task_ends_it_though_it_is_protected_and_its_service_replaces_it(
    client: ECSClient, running: Running
) -> None:
    (arn,) = running(1)
    client.update_task_protection(cluster="main", tasks=[arn], protectionEnabled=True)
    client.stop_task(cluster="main", task=arn)
    assert one(client, arn)["lastStatus"] == "STOPPED"
    assert len(client.list_tasks(cluster="main", serviceName="workers")["taskArns"]) == 1


def test_a_spot_interruption_has_its_own_stop_code(client: ECSClient, running: Running, url: str) -> None:
    (arn,) = running(1)
    send("POST", f"{url}/_local/tasks/{arn.rsplit('/', 1)[-1]}/interrupt")
    assert one(client, arn)["stopCode"] == "SpotInterruption"


def test_stopping_an_unknown_task_is_an_invalid_parameter(client: ECSClient) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException, match="not found"):
        client.stop_task(cluster="main", task="nothing")


def test_the_local_list_of_tasks_shows_those_of_all_services(
    client: ECSClient, running: Running, url: str
) -> None:
    (arn,) = running(1)
    (task,) = get(f"{url}/_local/tasks")
    assert (task["taskArn"], task["service"], task["lastStatus"]) == (arn, "workers", "RUNNING")
