"""What a task sees at its two endpoint variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from .http import get, send

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

Running = Callable[[int], list[str]]


def state_url(url: str, arn: str) -> str:
    return f"{url}/agent/{arn.rsplit('/', 1)[-1]}/task-protection/v1/state"


def test_a_task_protects_itself_and_reads_it_back(client: ECSClient, running: Running, url: str) -> None:
    (arn,) = running(1)
    unprotected = send("GET", state_url(url, arn))
    assert unprotected == (200, {"protection": {"ProtectionEnabled": False, "TaskArn": arn}})
    put = send("PUT", state_url(url, arn), {"ProtectionEnabled": True, "ExpiresInMinutes": 60})
    assert put == send("GET", state_url(url, arn))
    assert put == (
        200,
        {
            "protection": {
                "ProtectionEnabled": True,
                "TaskArn": arn,
                "ExpirationDate": "2026-01-01T01:00:10Z",
            }
        },
    )
    answer = client.get_task_protection(cluster="main", tasks=[arn])
    assert answer["protectedTasks"][0]["protectionEnabled"] is True
    send("PUT", state_url(url, arn), {"ProtectionEnabled": False})
    assert (
        client.get_task_protection(cluster="main", tasks=[arn])["protectedTasks"][0]["protectionEnabled"]
        is False
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"ProtectionEnabled": true, "Minutes": 5}',
        b'{"ProtectionEnabled": "yes"}',
        b'{"ProtectionEnabled": true, "ExpiresInMinutes": "5"}',
        b"not json",
        b"[]",
        b"{}",
    ],
)
def test_a_request_that_the_real_agent_refuses_is_refused(running: Running, url: str, body: bytes) -> None:
    (arn,) = running(1)
    status, answer = send("PUT", state_url(url, arn), body=body)
    assert (status, answer["error"]["Code"]) == (400, "InvalidParameterException")


def test_a_time_out_of_bounds_is_ecs_own_error(running: Running, url: str) -> None:
    (arn,) = running(1)
    status, answer = send("PUT", state_url(url, arn), {"ProtectionEnabled": True, "ExpiresInMinutes": 2881})
    assert (status, answer["error"]["Code"], answer["error"]["Arn"]) == (
        400,
        "InvalidParameterException",
        arn,
    )


def test_a_blocked_protection_is_a_failure_and_no_error(
    client: ECSClient, running: Running, url: str
) -> None:
    first, second = running(2)
    client.update_task_protection(cluster="main", tasks=[first, second], protectionEnabled=True)
    client.update_service(cluster="main", service="workers", desiredCount=1)
    status, answer = send("PUT", state_url(url, first), {"ProtectionEnabled": True})
    assert status == 200
    assert (answer["failure"]["Reason"], answer["failure"]["Arn"]) == ("DEPLOYMENT_BLOCKED", first)


def test_faults_of_the_api_reach_the_agent_endpoint(running: Running, url: str) -> None:
    (arn,) = running(1)
    send("POST", f"{url}/_local/faults", [{"action": "UpdateTaskProtection", "kind": "throttle", "count": 1}])
    status, answer = send("PUT", state_url(url, arn), {"ProtectionEnabled": True})
    assert (status, answer["error"]["Code"]) == (400, "ThrottlingException")
    assert send("PUT", state_url(url, arn), {"ProtectionEnabled": True})[0] == 200


def test_an_unknown_task_is_not_found(url: str) -> None:
    status, answer = send("GET", state_url(url, "task/unknown"))
    assert (status, answer["error"]["Code"]) == (404, "ResourceNotFoundException")


def test_the_metadata_endpoint_tells_a_task_who_it_is(client: ECSClient, running: Running, url: str) -> None:
    (arn,) = running(1)
    task = client.describe_tasks(cluster="main", tasks=[arn])["tasks"][0]
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    base = f"{url}/metadata/{arn.rsplit('/', 1)[-1]}"
    document = get(f"{base}/task")
    assert document["Cluster"].endswith("cluster/main")
    assert (document["TaskARN"], document["Family"], document["Revision"]) == (arn, "worker", "1")
    assert (document["LaunchType"], document["AvailabilityZone"]) == ("FARGATE", task["availabilityZone"])
    container = document["Containers"][0]
    assert (container["Name"], container["DockerId"]) == ("main", task["containers"][0]["runtimeId"])
    assert container["Networks"][0]["IPv4Addresses"] == [address]
    assert get(base) == container


def test_the_metadata_of_an_unknown_task_is_not_found(url: str) -> None:
    assert send("GET", f"{url}/metadata/unknown/task")[0] == 404
