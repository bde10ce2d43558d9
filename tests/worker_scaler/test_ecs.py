"""The ECS adapter over real boto3, and the fake that stands in for it: one contract for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.aws import Aws
from sidecar.clock import SystemClock
from sidecar.errors import ConfigError, Transient
from sidecar.testing.waiting import wait_until
from worker_scaler.budget import Budget
from worker_scaler.ecs import EcsServices
from worker_scaler.model import Fleet, Phase, Sighting
from worker_scaler.ports import Services

from .fakes import NOON, FakeServices, World, fleet

if TYPE_CHECKING:
    from .conftest import LocalEcs

Start = Callable[[int], tuple[Services, Fleet]]


@pytest.fixture(params=["fake", "local_ecs"])
def start(request: pytest.FixtureRequest) -> Start:
    """Returns a way to make a service with so many running workers."""

    def a_fake(desired: int) -> tuple[Services, Fleet]:
        world = World(desired)
        world.settle()
        return FakeServices(world), fleet()

    def a_local(desired: int) -> tuple[Services, Fleet]:
        ecs: LocalEcs = request.getfixturevalue("local_ecs")
        policy = ecs.service(desired)
        return adapter(), policy

    return a_fake if request.param == "fake" else a_local


def adapter() -> EcsServices:
    aws = Aws(service="worker-scaler", version="0")
    return EcsServices(aws.session.client("ecs", config=aws.config(attempts=1)))


def look_at(services: Services, policy: Fleet) -> Sighting:
    found = services.look_all([policy])[policy.name]
    assert isinstance(found, Sighting)
    return found


def running(services: Services, policy: Fleet, count: int) -> Sighting:
    """Look until so many workers run."""

    def look() -> Sighting | None:
        seen = look_at(services, policy)
        return seen if seen.count(Phase.RUNNING) == count == len(seen.present) else None

    found = wait_until(look, f"{count} running workers")
    assert found is not None
    return found


def test_a_look_shows_the_count_and_every_worker_with_its_address(start: Start) -> None:
    services, policy = start(3)

    seen = running(services, policy, 3)

    assert seen.desired == 3
    assert not seen.is_deploying
    assert len({worker.addresses for worker in seen.workers}) == 3
    assert all(worker.started_at is not None for worker in seen.workers)
    assert seen.protected(NOON) == 0


def test_protection_is_given_shown_and_taken_back(start: Start) -> None:
    services, policy = start(2)
    first, second = (worker.arn for worker in running(services, policy, 2).workers)

    assert services.protect(policy, [first, second], minutes=30) == ()
    assert services.unprotect(policy, [second]) == ()

    shown = {worker.arn: worker.protected_until for worker in look_at(services, policy).workers}
    assert shown[first] is not None
    assert shown[second] is None


def test_more_protected_than_desired_is_refused_by_name(start: Start) -> None:
    services, policy = start(2)
    first, second = (worker.arn for worker in running(services, policy, 2).workers)
    services.protect(policy, [first], minutes=30)
    services.protect(policy, [second], minutes=30)
    services.set_desired(policy, 1)

    (refusal,) = services.protect(policy, [first], minutes=30)

    assert refusal.arn == first
    assert "DEPLOYMENT_BLOCKED" in refusal.reason


def test_the_count_is_set_and_only_unprotected_workers_go(start: Start) -> None:
    services, policy = start(3)
    kept = running(services, policy, 3).workers[0].arn
    services.protect(policy, [kept], minutes=30)

    services.set_desired(policy, 1)

    assert [worker.arn for worker in running(services, policy, 1).present] == [kept]


# ---------------------------------------------------------------- what only the real adapter has


def test_a_stopped_worker_is_still_seen_with_why_it_ended(local_ecs: LocalEcs) -> None:
    services, policy = adapter(), local_ecs.service(1)
    running(services, policy, 1)
    services.set_desired(policy, 0)

    def stopped() -> Sighting | None:
        seen = services.look(policy)
        return seen if seen.count(Phase.STOPPED) == 1 else None

    seen = wait_until(stopped, "a stopped worker")
    assert seen is not None
    assert [worker.stop_code for worker in seen.workers] == ["ServiceSchedulerInitiated"]
    assert services.look(policy).count(Phase.STOPPED) == 1, "also when it comes from the cache"


@pytest.mark.parametrize("action", ["DescribeTasks", "GetTaskProtection"])
def test_a_worker_missing_from_an_answer_is_unknown_not_absent(local_ecs: LocalEcs, action: str) -> None:
    services, policy = adapter(), local_ecs.service(2)
    running(services, policy, 2)
    local_ecs.fault(action=action, kind="partial", count=1)

    seen = adapter().look(policy)

    assert len(seen.present) == 2
    assert seen.count(Phase.UNKNOWN) == 1


def test_more_workers_than_one_call_describes_are_all_seen(local_ecs: LocalEcs) -> None:
    services, policy = adapter(), local_ecs.service(120)

    assert len(running(services, policy, 120).workers) == 120


def test_a_new_revision_shows_as_a_deployment(local_ecs: LocalEcs) -> None:
    services, policy = adapter(), local_ecs.service(1)
    (worker,) = running(services, policy, 1).workers
    services.protect(policy, [worker.arn], minutes=30)

    local_ecs.client.update_service(cluster=policy.cluster, service=policy.service, forceNewDeployment=True)

    assert services.look(policy).is_deploying


@pytest.mark.parametrize("kind", ["throttle", "error"])
@pytest.mark.parametrize("act", ["look", "protect", "unprotect", "set_desired"])
def test_throttling_and_server_errors_may_be_tried_again(local_ecs: LocalEcs, act: str, kind: str) -> None:
    services, policy = adapter(), local_ecs.service(0)
    local_ecs.fault(action="*", kind=kind)
    acts: dict[str, Callable[[], object]] = {
        "look": lambda: services.look(policy),
        "protect": lambda: services.protect(policy, ["x"], minutes=1),
        "unprotect": lambda: services.unprotect(policy, ["x"]),
        "set_desired": lambda: services.set_desired(policy, 1),
    }

    with pytest.raises(Transient):
        acts[act]()


@pytest.mark.parametrize("wrong", [{"cluster": "nowhere"}, {"service": "nobody"}])
def test_an_unknown_cluster_or_service_is_a_wrong_setting(local_ecs: LocalEcs, wrong: dict[str, str]) -> None:
    local_ecs.service(0)
    policy = fleet(**({"cluster": "main", "service": "workers"} | wrong))

    with pytest.raises(ConfigError) as caught:
        adapter().look(policy)
    assert next(iter(wrong.values())) in str(caught.value)


def test_a_deleted_service_is_a_wrong_setting(local_ecs: LocalEcs) -> None:
    policy = local_ecs.service(0)
    local_ecs.client.delete_service(cluster=policy.cluster, service=policy.service, force=True)

    with pytest.raises(ConfigError, match="no active ECS service"):
        adapter().look(policy)


# ---------------------------------------------------------------- few requests


def test_a_running_worker_is_described_once_and_a_stopped_one_once(local_ecs: LocalEcs) -> None:
    spent = Budget(SystemClock())
    aws = Aws(service="worker-scaler", version="0")
    services = EcsServices(aws.session.client("ecs", config=aws.config(attempts=1)), spent)
    policy = local_ecs.service(3)
    running(services, policy, 3)
    look_at(services, policy)
    before = dict(spent.spent)

    for _ in range(3):
        look_at(services, policy)

    made = {action: count - before[action] for action, count in spent.spent.items() if count > before[action]}
    assert made == {"DescribeServices": 3, "ListTasks": 3, "GetTaskProtection": 3}


def test_services_of_one_cluster_are_seen_in_one_list_and_strangers_are_left_out(local_ecs: LocalEcs) -> None:
    services = adapter()
    first = replace(local_ecs.service(2), name="first")
    second = replace(local_ecs.service(1), name="second")
    stranger = local_ecs.service(1)
    local_ecs.client.run_task(cluster="main", taskDefinition=stranger.service)

    def both() -> bool:
        seen = services.look_all([first, second])
        found = [seen["first"], seen["second"]]
        return [len(one.present) for one in found if isinstance(one, Sighting)] == [2, 1]

    wait_until(both, "each service's own workers")
    local_ecs.client.update_service(cluster="main", service=first.service, desiredCount=1)
    wait_until(
        lambda: (
            isinstance(seen := services.look_all([first, second])["first"], Sighting)
            and (len(seen.present), seen.count(Phase.STOPPED)) == (1, 1)
        ),
        "the stopped worker of its own service",
    )


def test_a_task_of_a_shared_list_that_nobody_can_describe_is_unknown_to_its_own_service(
    local_ecs: LocalEcs,
) -> None:
    first = replace(local_ecs.service(2), name="first")
    second = replace(local_ecs.service(2), name="second")
    services = adapter()
    running(services, first, 2)
    running(services, second, 2)
    local_ecs.fault(action="DescribeTasks", kind="partial", count=1)

    seen = adapter().look_all([first, second])

    unknown = [one.count(Phase.UNKNOWN) for one in seen.values() if isinstance(one, Sighting)]
    present = [len(one.present) for one in seen.values() if isinstance(one, Sighting)]
    assert present == [2, 2]
    assert sum(unknown) == 2


def test_one_absent_service_does_not_hide_the_others_of_its_cluster(local_ecs: LocalEcs) -> None:
    good = local_ecs.service(1)
    seen = adapter().look_all([good, fleet(name="gone", cluster="main", service="nobody")])

    assert isinstance(seen[good.name], Sighting)
    assert isinstance(seen["gone"], ConfigError)
