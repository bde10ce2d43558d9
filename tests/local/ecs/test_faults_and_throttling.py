from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from local_ecs.errors import ApiError, ServerError, ThrottledError
from local_ecs.faults import Fault, FaultKind, Faults
from local_ecs.throttle import Throttle
from local_ecs.virtual import VirtualEcs

from .builders import NOON
from .http import get, send

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

Running = Callable[[int], list[str]]


def some_faults(*faults: Fault) -> Faults:
    made = Faults(random.Random(1))  # noqa: S311 - chance that can be repeated, nothing secret
    made.add(faults)
    return made


def test_a_fault_strikes_its_action_as_often_as_told(client: ECSClient, url: str) -> None:
    send("POST", f"{url}/_local/faults", [{"action": "ListTasks", "kind": "throttle", "count": 2}])
    for _ in range(2):
        with pytest.raises(ClientError) as err:
            client.list_tasks(cluster="main")
        assert err.value.response["Error"]["Code"] == "ThrottlingException"
        client.list_services(cluster="main")
    assert client.list_tasks(cluster="main")["taskArns"] == []


def test_a_server_error_is_a_500_that_boto3_knows(client: ECSClient, url: str) -> None:
    send("POST", f"{url}/_local/faults", [{"action": "UpdateService", "kind": "error"}])
    with pytest.raises(client.exceptions.ServerException) as err:
        client.update_service(cluster="main", service="s", desiredCount=1)
    assert err.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_a_request_that_was_struck_did_nothing(client: ECSClient, running: Running, url: str) -> None:
    running(1)
    send("POST", f"{url}/_local/faults", [{"action": "UpdateService", "kind": "error", "count": 1}])
    with pytest.raises(client.exceptions.ServerException):
        client.update_service(cluster="main", service="workers", desiredCount=9)
    service = client.describe_services(cluster="main", services=["workers"])["services"][0]
    assert service["desiredCount"] == 1


def test_a_partial_fault_puts_half_of_the_tasks_into_failures(
    client: ECSClient, running: Running, url: str
) -> None:
    arns = running(4)
    for action in ("DescribeTasks", "UpdateTaskProtection"):
        send("POST", f"{url}/_local/faults", [{"action": action, "kind": "partial", "count": 1}])
    described = client.describe_tasks(cluster="main", tasks=arns)
    assert [len(described["tasks"]), len(described["failures"])] == [2, 2]
    changed = client.update_task_protection(cluster="main", tasks=arns, protectionEnabled=True)
    assert [len(changed["protectedTasks"]), len(changed["failures"])] == [2, 2]


def test_latency_outlasts_a_client_that_is_not_patient(url: str, connect: Callable[..., ECSClient]) -> None:
    send("POST", f"{url}/_local/faults", [{"action": "ListClusters", "kind": "latency", "seconds": 30}])
    with pytest.raises(ReadTimeoutError):
        connect(url, read_timeout=0.2).list_clusters()


def test_faults_are_listed_and_taken_off(client: ECSClient, url: str) -> None:
    send("POST", f"{url}/_local/faults", [{"kind": "throttle", "probability": 1}])
    assert [fault["action"] for fault in get(f"{url}/_local/faults")] == ["*"]
    assert send("DELETE", f"{url}/_local/faults") == (200, [])
    client.list_tasks(cluster="main")


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "ListTasks", "kind": "explode"},
        {"kind": "throttle", "probability": 2},
        {"kind": "throttle", "count": 0},
        {"kind": "latency", "second": 2},
        {},
    ],
)
def test_a_wrong_fault_is_refused_with_a_reason(url: str, wrong: dict[str, object]) -> None:
    status, answer = send("POST", f"{url}/_local/faults", [wrong])
    assert status == 400
    assert answer["error"]
    assert get(f"{url}/_local/faults") == []


def test_requests_are_counted_by_action_refused_ones_too(client: ECSClient, url: str) -> None:
    before = get(f"{url}/_local/requests")
    client.list_tasks(cluster="main")
    with pytest.raises(ClientError):
        client.list_tasks(cluster="nowhere")
    assert get(f"{url}/_local/requests") == {**before, "ListTasks": 2}


def test_a_probability_strikes_that_share_of_requests() -> None:
    faults = some_faults(Fault(action="*", kind=FaultKind.ERROR, probability=0.25))
    struck = 0
    for _ in range(1000):
        try:
            faults.refuse("ListTasks")
        except ServerError:
            struck += 1
    assert 200 <= struck <= 300


def test_a_bucket_allows_its_burst_and_then_its_rate() -> None:
    throttle = Throttle()
    for _ in range(50):
        throttle.take("UpdateService", NOON)
    with pytest.raises(ThrottledError):
        throttle.take("CreateService", NOON)  # the same category
    throttle.take("DescribeServices", NOON)  # another one
    for _ in range(5):
        throttle.take("UpdateService", NOON + timedelta(seconds=1))
    with pytest.raises(ThrottledError):
        throttle.take("UpdateService", NOON + timedelta(seconds=1))


def test_a_throttled_ecs_refuses_what_comes_too_fast() -> None:
    ecs = VirtualEcs(seed=1, throttle=Throttle())
    ecs.call("CreateCluster", clusterName="main")
    for _ in range(100):
        ecs.call("ListTasks", cluster="main")
    with pytest.raises(ApiError, match="Rate exceeded"):
        ecs.call("DescribeTasks", cluster="main", tasks=["t"])
    ecs.advance(1)
    ecs.call("ListTasks", cluster="main")
