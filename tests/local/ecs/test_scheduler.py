"""The service scheduler's promises as properties, and its tricky cases."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, strategies as st

from local_ecs.model import LastStatus, RolloutPolicy, RolloutState, Service, ServiceStatus, Task
from local_ecs.scheduler import decide, deploy

from .builders import CURRENT, NOON, OLDER, a_definition, a_service, a_task

STARTING_OR_RUNNING = st.sampled_from([LastStatus.PROVISIONING, LastStatus.PENDING, LastStatus.RUNNING])
seeds = st.integers(0, 2**32)


@st.composite
def fleets(draw: st.DrawFn, *, deployments: tuple[str, ...] = (CURRENT,)) -> list[Task]:
    """Up to 12 tasks in any state, some protected."""
    return [
        a_task(
            f"t{index}",
            status=draw(st.sampled_from(list(LastStatus)[:-1])),
            deployment=draw(st.sampled_from(deployments)),
            protected_minutes=draw(st.sampled_from([None, -1, 30])),
        )
        for index in range(draw(st.integers(0, 12)))
    ]


def dice(seed: int = 0) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance that can be repeated, nothing secret


def fleet(running: int, *, protected: int = 0, deployment: str = CURRENT) -> list[Task]:
    plain = [a_task(f"{deployment}-{n}", deployment=deployment) for n in range(running - protected)]
    kept = [
        a_task(f"{deployment}-protected-{n}", deployment=deployment, protected_minutes=30)
        for n in range(protected)
    ]
    return plain + kept


@given(tasks=fleets(deployments=(CURRENT, OLDER)), desired=st.integers(0, 12), seed=seeds)
def test_a_protected_task_is_never_a_victim(tasks: list[Task], desired: int, seed: int) -> None:
    plan = decide(a_service(desired, is_rolling=True), tasks, now=NOON, dice=dice(seed))
    protected = {task.id for task in tasks if task.is_protected(NOON)}
    assert protected.isdisjoint(plan.stop)


@given(tasks=fleets(), desired=st.integers(0, 12), seed=seeds)
def test_scale_in_stops_no_more_tasks_than_needed_and_each_once(
    tasks: list[Task], desired: int, seed: int
) -> None:
    plan = decide(a_service(desired), tasks, now=NOON, dice=dice(seed))
    wanted = [task for task in tasks if task.wanted]
    assert len(plan.stop) == len(set(plan.stop))
    assert len(plan.stop) <= max(0, len(wanted) - desired)
    assert set(plan.stop) <= {task.id for task in wanted}


@given(tasks=fleets(deployments=(CURRENT, OLDER)), desired=st.integers(0, 12), seed=seeds)
def test_a_deployment_keeps_the_healthy_minimum_and_the_maximum(
    tasks: list[Task], desired: int, seed: int
) -> None:
    service = a_service(desired, is_rolling=True)
    plan = decide(service, tasks, now=NOON, dice=dice(seed))
    running = {task.id for task in tasks if task.is_running}
    left = running - set(plan.stop)
    is_scaling_in = sum(task.wanted and task.deployment_id == CURRENT for task in tasks) > desired
    assert is_scaling_in or len(left) >= min(len(running), desired)
    assert plan.start == 0 or sum(task.wanted for task in tasks) + plan.start <= 2 * desired


@given(tasks=fleets(deployments=(CURRENT, OLDER)), desired=st.integers(0, 8), seed=seeds)
def test_what_is_decided_again_and_again_reaches_the_desired_count(
    tasks: list[Task], desired: int, seed: int
) -> None:
    """What is told to start runs, and what is told to stop is gone, before the next decision."""
    service, chance = a_service(desired, is_rolling=True), dice(seed)
    later = NOON + timedelta(minutes=31)  # every protection has expired
    fleet_now = [replace(task, last_status=LastStatus.RUNNING) for task in tasks if task.wanted]
    for round_number in range(30):
        plan = decide(service, fleet_now, now=later, dice=chance)
        service = plan.service
        fleet_now = [task for task in fleet_now if task.id not in plan.stop]
        fleet_now += [a_task(f"new-{round_number}-{n}") for n in range(plan.start)]
        if not plan.start and not plan.stop:
            break
    assert [task.deployment_id for task in fleet_now] == [CURRENT] * desired
    assert service.primary.rollout_state is RolloutState.COMPLETED


def test_every_unprotected_task_is_as_likely_a_victim_as_another() -> None:
    tasks = fleet(4)
    victims = Counter(decide(a_service(3), tasks, now=NOON, dice=dice(seed)).stop[0] for seed in range(400))
    assert set(victims) == {task.id for task in tasks}
    assert all(60 <= count <= 140 for count in victims.values())


def test_the_same_seed_chooses_the_same_victims() -> None:
    plans = [decide(a_service(2), fleet(9), now=NOON, dice=dice(5)) for _ in range(2)]
    assert plans[0].stop == plans[1].stop


def test_tasks_are_started_up_to_the_desired_count_at_once() -> None:
    plan = decide(a_service(5), fleet(2), now=NOON, dice=dice())
    assert (plan.start, plan.stop) == (3, ())


def test_a_task_that_is_stopping_is_replaced_and_not_counted() -> None:
    tasks = [*fleet(1), a_task("leaving", status=LastStatus.STOPPING)]
    assert decide(a_service(2), tasks, now=NOON, dice=dice()).start == 1


def test_excess_tasks_under_protection_are_waited_for_and_spoken_of_once() -> None:
    tasks = fleet(3, protected=3)
    first = decide(a_service(1), tasks, now=NOON, dice=dice())
    assert first.stop == ()
    assert first.messages == ("was unable to scale in due to (reason 2 tasks under protection)",)
    assert decide(first.service, tasks, now=NOON, dice=dice()).messages == ()


def test_an_expired_protection_protects_no_longer() -> None:
    tasks = fleet(3, protected=3)
    plan = decide(a_service(1), tasks, now=NOON + timedelta(minutes=30), dice=dice())
    assert len(plan.stop) == 2


def test_a_deployment_starts_new_tasks_before_it_stops_old_ones() -> None:
    service, old = a_service(2, is_rolling=True), fleet(2, deployment=OLDER)
    first = decide(service, old, now=NOON, dice=dice())
    assert (first.start, first.stop) == (2, ())
    then = decide(service, [*old, *fleet(2)], now=NOON, dice=dice())
    assert (then.start, set(then.stop)) == (0, {task.id for task in old})


def test_with_a_low_healthy_minimum_a_deployment_stops_old_tasks_first() -> None:
    rollout = RolloutPolicy(minimum_healthy_percent=50, maximum_percent=100)
    service = a_service(4, rollout=rollout, is_rolling=True)
    plan = decide(service, fleet(4, deployment=OLDER), now=NOON, dice=dice())
    assert (plan.start, len(plan.stop)) == (0, 2)


def test_a_deployment_leaves_protected_tasks_and_does_not_complete() -> None:
    service = a_service(2, is_rolling=True)
    tasks = [*fleet(2, deployment=OLDER, protected=1), *fleet(2)]
    plan = decide(service, tasks, now=NOON, dice=dice())
    assert plan.stop == (f"{OLDER}-0",)
    assert plan.service.primary.rollout_state is RolloutState.IN_PROGRESS
    assert "stop tasks of an older deployment due to (reason 1 tasks" in plan.messages[0]


def test_a_deployment_is_complete_when_only_new_tasks_run_and_the_older_one_is_forgotten() -> None:
    plan = decide(a_service(2, is_rolling=True), fleet(2), now=NOON, dice=dice())
    assert plan.service.primary.rollout_state is RolloutState.COMPLETED
    assert [deployment.id for deployment in plan.service.deployments] == [CURRENT]
    assert plan.messages == (f"(deployment {CURRENT}) deployment completed.", "has reached a steady state.")


def test_nothing_is_started_before_the_pause_after_failures_is_over() -> None:
    service = replace(a_service(2), retry_at=NOON + timedelta(seconds=5))
    assert decide(service, [], now=NOON, dice=dice()).start == 0
    assert decide(service, [], now=NOON + timedelta(seconds=5), dice=dice()).start == 2


def failed(*, roll_back: bool) -> Service:
    policy = RolloutPolicy(circuit_breaker=True, roll_back=roll_back)
    service = deploy(a_service(2, rollout=policy), a_definition(2), deployment_id="ecs-svc/bad", now=NOON)
    bad = replace(service.primary, rollout_state=RolloutState.FAILED)
    return replace(service, deployments=(bad, *service.deployments[1:]), proven=a_definition(1))


def test_a_failed_deployment_starts_nothing_and_keeps_what_runs() -> None:
    plan = decide(failed(roll_back=False), fleet(2), now=NOON, dice=dice())
    assert (plan.start, plan.stop, plan.roll_back_to) == (0, (), None)


def test_a_failed_deployment_rolls_back_when_asked_to() -> None:
    plan = decide(failed(roll_back=True), fleet(2), now=NOON, dice=dice())
    assert plan.roll_back_to == a_definition(1)


def test_a_deleted_service_stops_protected_tasks_too_and_is_then_inactive() -> None:
    service = replace(a_service(0), status=ServiceStatus.DRAINING)
    tasks = fleet(2, protected=1)
    plan = decide(service, tasks, now=NOON, dice=dice())
    assert set(plan.stop) == {task.id for task in tasks}
    assert decide(plan.service, [], now=NOON, dice=dice()).service.status is ServiceStatus.INACTIVE
