"""A whole ECS on virtual time, in this process."""

from __future__ import annotations

from local_ecs.model import JsonObject, Rules, StartDelay
from local_ecs.virtual import VirtualEcs

HOUR = 3600.0


def an_ecs(
    seed: int = 1, *, median: float = 60.0, sigma: float = 0.0, stop_seconds: float = 0.0
) -> VirtualEcs:
    delay = StartDelay(median_seconds=median, sigma=sigma)
    ecs = VirtualEcs(seed=seed, rules=Rules(start_delay=delay), stop_seconds=stop_seconds)
    ecs.call("CreateCluster", clusterName="main")
    return ecs


def register(ecs: VirtualEcs, **container: object) -> None:
    definition = {"name": "main", "image": "i", **container}
    ecs.call("RegisterTaskDefinition", family="worker", containerDefinitions=[definition])


def create(ecs: VirtualEcs, desired: int, **members: object) -> None:
    create_members = {"cluster": "main", "serviceName": "workers", "taskDefinition": "worker", **members}
    ecs.call("CreateService", desiredCount=desired, **create_members)


def service(ecs: VirtualEcs) -> JsonObject:
    found: JsonObject = ecs.call("DescribeServices", cluster="main", services=["workers"])["services"][0]
    return found


def tasks(ecs: VirtualEcs, status: str = "RUNNING") -> list[JsonObject]:
    arns = ecs.call("ListTasks", cluster="main", desiredStatus=status)["taskArns"]
    found: list[JsonObject] = ecs.call("DescribeTasks", cluster="main", tasks=arns)["tasks"] if arns else []
    return found


def story(seed: int) -> list[str]:
    ecs = an_ecs(seed, sigma=0.5)
    register(ecs)
    create(ecs, 8)
    ecs.advance(HOUR)
    ecs.call("UpdateService", cluster="main", service="workers", desiredCount=3)
    ecs.advance(HOUR / 2)
    return [event["message"] for event in service(ecs)["events"]]


def test_the_same_seed_tells_the_same_story() -> None:
    assert story(7) == story(7)
    assert story(7) != story(8)


def test_start_delays_spread_around_their_median() -> None:
    ecs = an_ecs(sigma=0.5)
    register(ecs)
    create(ecs, 100)
    ecs.advance(HOUR)
    delays = sorted(task["startedAt"] - task["createdAt"] for task in tasks(ecs))
    assert 45 < delays[50] < 80
    assert delays[0] < 40
    assert delays[-1] > 100


def test_a_task_that_ends_slowly_is_stopping_meanwhile() -> None:
    ecs = an_ecs(stop_seconds=20)
    register(ecs)
    create(ecs, 1)
    ecs.advance(60)
    ecs.call("UpdateService", cluster="main", service="workers", desiredCount=0)
    ecs.advance(19)
    assert [task["lastStatus"] for task in tasks(ecs, "STOPPED")] == ["STOPPING"]
    assert service(ecs)["runningCount"] == 0
    ecs.advance(1)
    (ended,) = tasks(ecs, "STOPPED")
    assert (ended["lastStatus"], ended["containers"][0]["exitCode"]) == ("STOPPED", 143)


def test_a_task_that_outlasts_its_stop_timeout_is_killed() -> None:
    ecs = an_ecs(stop_seconds=100)
    register(ecs, stopTimeout=5)
    create(ecs, 1)
    ecs.advance(60)
    ecs.call("StopTask", cluster="main", task=tasks(ecs)[0]["taskArn"])
    ecs.advance(5)
    (ended,) = [task for task in tasks(ecs, "STOPPED") if "stoppedAt" in task]
    assert ended["containers"][0]["exitCode"] == 137
    assert ended["stoppedAt"] - ended["stoppingAt"] == 5


def test_tasks_that_cannot_start_back_off_and_open_the_circuit_breaker() -> None:
    ecs = an_ecs(median=1)
    register(ecs)
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    ecs.runtime.start_error = "CannotPullContainerError: no such image"
    create(ecs, 1, deploymentConfiguration=breaker)
    ecs.advance(HOUR / 2)
    (deployment,) = service(ecs)["deployments"]
    assert (deployment["rolloutState"], deployment["failedTasks"]) == ("FAILED", 3)
    stopped = tasks(ecs, "STOPPED")
    assert {task["stopCode"] for task in stopped} == {"TaskFailedToStart"}
    assert len(stopped) == 3


def test_a_circuit_breaker_rolls_back_to_what_worked() -> None:
    ecs = an_ecs(median=1)
    register(ecs)
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    create(ecs, 2, deploymentConfiguration=breaker)
    ecs.advance(60)
    register(ecs, command=["broken"])
    ecs.runtime.start_error = "CannotPullContainerError: no such image"
    ecs.call("UpdateService", cluster="main", service="workers", taskDefinition="worker:2")
    ecs.advance(2)
    ecs.runtime.start_error = None
    ecs.advance(HOUR)
    after = service(ecs)
    assert after["taskDefinition"].endswith("worker:1")
    assert (after["runningCount"], len(after["deployments"])) == (2, 1)
    assert any("rolling back" in event["message"] for event in after["events"])


def test_failures_are_forgiven_so_that_a_later_crash_is_replaced_at_once() -> None:
    ecs = an_ecs(median=1)
    register(ecs)
    create(ecs, 1)
    for _ in range(2):
        ecs.advance(1)
        ecs.exit_task(tasks(ecs)[0]["taskArn"], 1)
    ecs.advance(60)
    ecs.exit_task(tasks(ecs)[0]["taskArn"], 1)
    assert service(ecs)["pendingCount"] == 1
    assert not any("unable to consistently" in event["message"] for event in service(ecs)["events"])


def test_tasks_are_spread_over_the_zones() -> None:
    ecs = an_ecs(median=0)
    register(ecs)
    create(ecs, 9)
    zones = [task["availabilityZone"] for task in tasks(ecs)]
    assert sorted(zones.count(zone) for zone in set(zones)) == [3, 3, 3]


def test_a_spot_interruption_ends_a_protected_task_and_it_is_replaced() -> None:
    ecs = an_ecs()
    register(ecs)
    create(ecs, 1)
    ecs.advance(60)
    arn = tasks(ecs)[0]["taskArn"]
    ecs.call("UpdateTaskProtection", cluster="main", tasks=[arn], protectionEnabled=True)
    ecs.interrupt(arn)
    assert service(ecs)["pendingCount"] == 1


def test_a_week_of_a_hundred_tasks_passes_at_once_and_leaves_bounded_memory() -> None:
    ecs = an_ecs(sigma=0.3)
    register(ecs)
    create(ecs, 0)
    for day in range(7):
        for desired in (100, 10):
            ecs.call("UpdateService", cluster="main", service="workers", desiredCount=desired)
            ecs.advance(12 * HOUR)
            assert service(ecs)["runningCount"] == desired, day
    assert len(service(ecs)["events"]) <= 100
    assert len(ecs.engine.state.stopped) <= 90
