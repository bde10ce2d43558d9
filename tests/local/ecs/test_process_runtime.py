"""Tasks that are processes of this machine."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.testing.waiting import wait_until

from .http import get
from .real import RealEcs, is_alive, kill, log_of, sleepers

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient


@pytest.fixture(scope="module")
def ecs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEcs]:
    """One for all tests here; families are the tests' own."""
    with RealEcs(tmp_path_factory.mktemp("local_ecs"), "--start-delay-seconds", "0.05") as started:
        yield started


@pytest.fixture
def client(ecs: RealEcs, connect: Callable[..., ECSClient]) -> ECSClient:
    made = connect(ecs.url)
    made.create_cluster(clusterName="main")
    return made


def shell(client: ECSClient, script: str, **container: Any) -> str:
    """Register a task that runs a shell script; returns its family."""
    family = f"f{uuid.uuid4().hex[:8]}"
    definition: Any = {"name": "main", "image": "i", "command": ["sh", "-c", script], **container}
    client.register_task_definition(
        family=family,
        containerDefinitions=[definition],
    )
    return family


def seconds_of_sleep() -> str:
    """A number of seconds that nobody else sleeps."""
    return str(100_000 + uuid.uuid4().int % 10_000_000)


def run(client: ECSClient, family: str, **members: Any) -> str:
    answer = client.run_task(cluster="main", taskDefinition=family, **members)
    return answer["tasks"][0]["taskArn"]


def ended(client: ECSClient, ecs: RealEcs, family: str) -> Any:
    (task,) = ecs.stopped(family)
    return client.describe_tasks(cluster="main", tasks=[task["taskArn"]])["tasks"][0]


def test_a_task_runs_its_command_with_its_environment_and_its_log(client: ECSClient, ecs: RealEcs) -> None:
    family = shell(
        client,
        'echo "$COLOUR $ECS_AGENT_URI"; echo "$ECS_CONTAINER_METADATA_URI_V4" >&2; exit 3',
        environment=[{"name": "COLOUR", "value": "green"}],
    )
    run(client, family)
    task = ended(client, ecs, family)
    task_id = task["taskArn"].rsplit("/", 1)[-1]
    (shown,) = ecs.stopped(family)
    assert log_of(shown) == f"green {ecs.url}/agent/{task_id}\n{ecs.url}/metadata/{task_id}\n"
    assert shown["logPath"].endswith(f"/{family}/{task_id}.log")
    assert (task["stopCode"], task["containers"][0]["exitCode"]) == ("EssentialContainerExited", 3)


def test_run_task_overrides_the_command_and_adds_to_the_environment(client: ECSClient, ecs: RealEcs) -> None:
    family = shell(client, "exit 9", environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    override: Any = {
        "name": "main",
        "command": ["sh", "-c", 'echo "$A $B"'],
        "environment": [{"name": "B", "value": "3"}],
    }
    run(client, family, overrides={"containerOverrides": [override]})
    assert ended(client, ecs, family)["containers"][0]["exitCode"] == 0
    assert log_of(ecs.stopped(family)[0]) == "1 3\n"


def test_each_task_has_a_loopback_address_that_its_metadata_tells(client: ECSClient, ecs: RealEcs) -> None:
    family = shell(client, f"exec sleep {seconds_of_sleep()}")
    run(client, family, count=3)
    tasks = ecs.running(family, 3)
    addresses = [task["address"] for task in tasks]
    assert len(set(addresses)) == 3
    assert all(address.startswith("127.") for address in addresses)
    document = get(f"{ecs.url}/metadata/{tasks[0]['taskId']}/task")
    assert document["Containers"][0]["Networks"][0]["IPv4Addresses"] == [addresses[0]]


def test_sigterm_reaches_the_main_process_only_and_what_it_started_ends_with_it(
    client: ECSClient, ecs: RealEcs
) -> None:
    nap = seconds_of_sleep()
    child = f"(trap 'echo child was told' TERM; sleep {nap} & wait; wait)"
    family = shell(client, f"trap 'echo main was told; exit 7' TERM; {child} & echo ready; wait")
    arn = run(client, family)
    (task,) = ecs.running(family)
    wait_until(lambda: "ready" in log_of(task) and sleepers(nap), "the task to be ready")
    client.stop_task(cluster="main", task=arn)
    assert ended(client, ecs, family)["containers"][0]["exitCode"] == 7
    assert log_of(task) == "ready\nmain was told\n"
    assert sleepers(nap) == []


def test_a_task_that_ignores_sigterm_is_killed_after_its_stop_timeout(
    client: ECSClient, ecs: RealEcs
) -> None:
    nap = seconds_of_sleep()
    script = f"trap '' TERM; echo ready; while :; do sleep {nap}; done"
    family = shell(client, script, stopTimeout=1)
    arn = run(client, family)
    (task,) = ecs.running(family)
    wait_until(lambda: "ready" in log_of(task), "the task to be ready")
    assert client.stop_task(cluster="main", task=arn)["task"]["lastStatus"] == "STOPPING"
    stopped = ended(client, ecs, family)
    assert (stopped["stopCode"], stopped["containers"][0]["exitCode"]) == ("UserInitiated", 137)
    assert 1 <= (stopped["stoppedAt"] - stopped["stoppingAt"]).total_seconds() < 5
    assert sleepers(nap) == []


def test_a_worker_that_is_killed_is_replaced_and_leaves_no_children(client: ECSClient, ecs: RealEcs) -> None:
    nap = seconds_of_sleep()
    family = shell(client, f"setsid sleep {nap} & sleep {nap} & wait")
    client.create_service(cluster="main", serviceName=family, taskDefinition=family, desiredCount=2)
    victim, other = ecs.running(family, 2)
    wait_until(lambda: len(sleepers(nap)) == 4, "two children of each worker")
    kill(victim["mainPid"])
    (dead,) = ecs.stopped(family)
    assert dead["taskId"] == victim["taskId"]
    replaced = ecs.running(family, 2)
    assert other["taskId"] in {task["taskId"] for task in replaced}
    wait_until(lambda: len(sleepers(nap)) == 4, "only the children of living workers")
    assert ended(client, ecs, family)["containers"][0]["exitCode"] == 137
    client.delete_service(cluster="main", service=family, force=True)


def test_scale_in_never_stops_a_protected_worker(client: ECSClient, ecs: RealEcs) -> None:
    family = shell(client, f"exec sleep {seconds_of_sleep()}")
    client.create_service(cluster="main", serviceName=family, taskDefinition=family, desiredCount=3)
    kept = ecs.running(family, 3)[1]
    client.update_task_protection(cluster="main", tasks=[kept["taskArn"]], protectionEnabled=True)
    client.update_service(cluster="main", service=family, desiredCount=0)
    ecs.stopped(family, 2)
    assert [task["taskId"] for task in ecs.running(family)] == [kept["taskId"]]
    assert is_alive(kept["mainPid"])
    client.delete_service(cluster="main", service=family, force=True)
    ecs.stopped(family, 3)


def test_an_essential_container_that_ends_takes_the_other_with_it(client: ECSClient, ecs: RealEcs) -> None:
    family = f"f{uuid.uuid4().hex[:8]}"
    nap = seconds_of_sleep()
    client.register_task_definition(
        family=family,
        containerDefinitions=[
            {"name": "main", "image": "i", "command": ["sh", "-c", "exit 5"]},
            {"name": "log", "image": "i", "essential": False, "command": ["sleep", nap]},
        ],
    )
    run(client, family)
    codes = {each["name"]: each["exitCode"] for each in ended(client, ecs, family)["containers"]}
    assert codes == {"main": 5, "log": 143}
    assert sleepers(nap) == []


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"command": ["/no/such/program"]}, "CannotStartContainerError.*No such file"),
        ({"command": []}, "neither entryPoint nor command"),
        ({"secrets": [{"name": "PASSWORD", "valueFrom": "arn"}]}, "ResourceInitializationError.*PASSWORD"),
    ],
)
def test_a_task_that_cannot_start_says_why(
    client: ECSClient, ecs: RealEcs, container: dict[str, Any], reason: str
) -> None:
    family = shell(client, "exit 0", **container)
    run(client, family)
    task = ended(client, ecs, family)
    assert task["stopCode"] == "TaskFailedToStart"
    assert re.search(reason, task["stoppedReason"])
