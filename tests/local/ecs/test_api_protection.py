from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

Advance = Callable[[float], None]
Running = Callable[[int], list[str]]


def service(client: ECSClient) -> Any:
    return client.describe_services(cluster="main", services=["workers"])["services"][0]


def protected(client: ECSClient, arns: list[str]) -> list[bool]:
    answer = client.get_task_protection(cluster="main", tasks=arns)
    flags = {each["taskArn"]: each["protectionEnabled"] for each in answer["protectedTasks"]}
    return [flags[arn] for arn in arns]


def test_a_protected_task_survives_scale_in_until_its_protection_expires(
    client: ECSClient, running: Running, advance: Advance
) -> None:
    arns = running(4)
    client.update_task_protection(
        cluster="main", tasks=arns[1:3], protectionEnabled=True, expiresInMinutes=60
    )
    client.update_service(cluster="main", service="workers", desiredCount=1)
    assert sorted(client.list_tasks(cluster="main")["taskArns"]) == sorted(arns[1:3])
    assert (
        "unable to scale in due to (reason 1 tasks under protection)"
        in service(client)["events"][0]["message"]
    )
    advance(3599)
    assert service(client)["runningCount"] == 2
    advance(1)
    assert service(client)["runningCount"] == 1


def test_taking_protection_off_lets_a_waiting_scale_in_go_on(client: ECSClient, running: Running) -> None:
    arns = running(2)
    client.update_task_protection(cluster="main", tasks=arns, protectionEnabled=True)
    client.update_service(cluster="main", service="workers", desiredCount=1)
    answer = client.update_task_protection(cluster="main", tasks=arns[:1], protectionEnabled=False)
    assert answer["protectedTasks"][0]["protectionEnabled"] is False
    assert client.list_tasks(cluster="main")["taskArns"] == arns[1:]


def test_protection_lasts_two_hours_unless_told_otherwise(
    client: ECSClient, running: Running, advance: Advance
) -> None:
    (arn,) = running(1)
    answer = client.update_task_protection(cluster="main", tasks=[arn], protectionEnabled=True)
    started = client.describe_tasks(cluster="main", tasks=[arn])["tasks"][0]["startedAt"]
    assert answer["protectedTasks"][0]["expirationDate"] - started == timedelta(minutes=120)
    advance(7199)
    assert protected(client, [arn]) == [True]
    advance(1)
    assert protected(client, [arn]) == [False]


def test_more_protected_tasks_than_the_desired_count_is_deployment_blocked(
    client: ECSClient, running: Running
) -> None:
    arns = running(3)
    client.update_task_protection(cluster="main", tasks=arns, protectionEnabled=True)
    client.update_service(cluster="main", service="workers", desiredCount=2)
    renewed = client.update_task_protection(cluster="main", tasks=arns, protectionEnabled=True)
    assert renewed["protectedTasks"] == []
    assert [each["reason"] for each in renewed["failures"]] == ["DEPLOYMENT_BLOCKED"] * 3
    client.update_service(cluster="main", service="workers", desiredCount=3)
    assert client.update_task_protection(cluster="main", tasks=arns, protectionEnabled=True)["failures"] == []


def test_a_request_succeeds_for_some_tasks_and_fails_for_others(client: ECSClient, running: Running) -> None:
    (arn,) = running(1)
    alone = client.run_task(cluster="main", taskDefinition="worker")["tasks"][0]["taskArn"]
    answer = client.update_task_protection(
        cluster="main", tasks=[alone, arn, "unknown"], protectionEnabled=True
    )
    assert [each["taskArn"] for each in answer["protectedTasks"]] == [arn]
    assert [each["reason"] for each in answer["failures"]] == ["TASK_NOT_VALID", "MISSING"]
    read = client.get_task_protection(cluster="main", tasks=[alone, arn, "unknown"])
    assert [each["reason"] for each in read["failures"]] == ["TASK_NOT_VALID", "MISSING"]


@pytest.mark.parametrize("minutes", [0, 2881, -1])
def test_a_protection_time_out_of_bounds_is_an_invalid_parameter(
    client: ECSClient, running: Running, minutes: int
) -> None:
    (arn,) = running(1)
    with pytest.raises(client.exceptions.InvalidParameterException, match="expiresInMinutes"):
        client.update_task_protection(
            cluster="main", tasks=[arn], protectionEnabled=True, expiresInMinutes=minutes
        )


def test_no_more_than_ten_tasks_are_protected_and_a_hundred_read_at_once(client: ECSClient) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException, match="more than 10"):
        client.update_task_protection(cluster="main", tasks=["t"] * 11, protectionEnabled=True)
    with pytest.raises(client.exceptions.InvalidParameterException, match="more than 100"):
        client.get_task_protection(cluster="main", tasks=["t"] * 101)


def test_an_unknown_cluster_is_cluster_not_found(client: ECSClient) -> None:
    with pytest.raises(client.exceptions.ClusterNotFoundException):
        client.get_task_protection(cluster="nowhere", tasks=["t"])
