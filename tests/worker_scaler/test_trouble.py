"""A service that cannot start workers is not pushed; how workers ended is told by cause."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from worker_scaler.deaths import Cause, cause_of
from worker_scaler.decide import decide
from worker_scaler.decision import Why
from worker_scaler.losses import Losses
from worker_scaler.memory import Memory
from worker_scaler.model import Notice, Phase, QueueDepth, Reading, Rollout, Sighting, Worker
from worker_scaler.occupancy import assess
from worker_scaler.outlook import Outlook
from worker_scaler.steps import Protect, SetDesired, Unprotect

from .fakes import NOON, arn, fleet, host, reading, sighting, worker

A_TICK = timedelta(seconds=10)
SCALING = "Scaling activity initiated by (deployment ecs-svc/1)"
PULL_ERROR = "CannotPullContainerError: pull image manifest has been retried 5 time(s)"


def ended(number: int = 9, **changes: Any) -> Worker:
    return worker(number, Phase.STOPPED, **({"stopped_at": NOON - A_TICK} | changes))


def failed_start(reason: str = PULL_ERROR) -> Worker:
    return ended(started_at=None, stop_code="TaskFailedToStart", stop_reason=reason)


def look(desired: int, *workers: Worker, **changes: Any) -> Sighting:
    return Sighting(desired=desired, workers=workers, **changes)


@pytest.mark.parametrize(
    ("seen", "why", "said"),
    [
        (look(1, failed_start()), Why.STARTS_FAILING, "CannotPullContainerError"),
        (
            look(1, failed_start("Capacity is unavailable at this time. Please try again later")),
            Why.NO_CAPACITY,
            "Capacity is unavailable",
        ),
        (
            look(1, notices=(Notice(at=NOON, message="was unable to place a task"),)),
            Why.NO_CAPACITY,
            "unable to place",
        ),
        (
            look(
                1, notices=(Notice(at=NOON, message="is unable to consistently start tasks successfully."),)
            ),
            Why.STARTS_FAILING,
            "consistently",
        ),
        (
            look(1, failed_start(), rollout=Rollout(id="d", state="FAILED", reason="circuit breaker")),
            Why.DEPLOYMENT_FAILED,
            "circuit breaker",
        ),
        (
            look(1, worker(1, Phase.PENDING, created_at=NOON - timedelta(minutes=11))),
            Why.STARTS_SLOW,
            "starting for 660 s",
        ),
        (
            look(
                1,
                ended(
                    started_at=NOON - timedelta(seconds=12),
                    stop_code="EssentialContainerExited",
                    stop_reason="Essential container in task exited",
                ),
            ),
            Why.STARTS_FAILING,
            "Essential container",
        ),
    ],
)
def test_a_service_that_cannot_start_workers_is_not_pushed_and_says_why(
    seen: Sighting, why: Why, said: str
) -> None:
    got = decide(fleet(), seen, reading(50), Memory(), now=NOON)

    assert (got.why, got.numbers.desired_after) == (why, 1)
    assert said in (got.trouble or "")


def test_a_start_that_takes_longer_than_is_known_of_this_service_is_one_that_fails() -> None:
    seen = look(1, worker(1, Phase.PENDING, created_at=NOON - timedelta(minutes=4)))

    assert decide(fleet(), seen, reading(50), Memory(), now=NOON).why is Why.BACKLOG
    known = Outlook(start_latency_seconds=60.0)
    assert decide(fleet(), seen, reading(50), Memory(), now=NOON, outlook=known).why is Why.STARTS_SLOW


def test_it_is_tried_again_after_pauses_that_double_and_then_forgotten_when_a_worker_starts() -> None:
    policy, memory, now, pushes = fleet(backoff_base=timedelta(seconds=30)), Memory(), NOON, []
    for _ in range(40):
        seen = look(1, ended(started_at=None, stop_code="TaskFailedToStart", stopped_at=now, stop_reason="x"))
        got = decide(policy, seen, reading(50, at=now), memory, now=now, chance=1.0 - 1e-9)
        memory = got.memory
        if any(isinstance(step, SetDesired) for step in got.steps):
            pushes.append(round((now - NOON).total_seconds()))
        now += A_TICK

    assert pushes == [30, 90, 210]
    healthy = look(1, failed_start(), worker(1, started_at=now))
    got = decide(policy, healthy, reading(50, at=now), memory, now=now)
    assert (got.why, got.memory.backoff, got.trouble) == (Why.BACKLOG, None, None)


def test_the_pause_is_moved_by_chance() -> None:
    def until(chance: float) -> timedelta:
        seen = look(1, failed_start())
        got = decide(fleet(), seen, reading(50), Memory(), now=NOON, chance=chance)
        assert got.memory.backoff is not None
        return got.memory.backoff.until - NOON

    assert until(0.0) == timedelta(seconds=15)
    assert until(0.9) > until(0.1)


def test_a_failed_deployment_is_never_pushed_but_busy_workers_are_kept() -> None:
    failed = Rollout(id="d", state="FAILED", reason="tasks failed to start")
    seen = look(1, worker(1), worker(2), rollout=failed)

    got = decide(fleet(), seen, reading(50, {host(1): 1, host(2): 1}), Memory(), now=NOON)

    assert got.numbers.desired_after == 2


# ---------------------------------------------------------------- deployments


def a_deployment(*busy: int, protected: bool = True) -> Sighting:
    """Two old and two new workers of a service that wants two."""
    old = [worker(number, deployment_id="old", protected=protected) for number in (1, 2)]
    new = [worker(number, deployment_id="new", protected=False) for number in (3, 4)]
    return look(2, *old, *new, is_deploying=True, rollout=Rollout(id="new", state="IN_PROGRESS"))


def test_old_workers_are_given_to_a_deployment_once_they_are_proven_idle_twice() -> None:
    first = decide(fleet(), a_deployment(), reading(0, {host(3): 2, host(4): 2}), Memory(), now=NOON)
    assert not any(isinstance(step, Unprotect | SetDesired) for step in first.steps)

    later = NOON + A_TICK
    second = decide(
        fleet(), a_deployment(), reading(0, {host(3): 2, host(4): 2}, at=later), first.memory, now=later
    )
    unprotected = {one for step in second.steps if isinstance(step, Unprotect) for one in step.arns}
    assert unprotected <= {arn(1), arn(2)}
    assert unprotected


def test_a_busy_old_worker_is_kept_through_a_deployment() -> None:
    memory = Memory(releasing=frozenset({arn(1), arn(2)}))

    got = decide(fleet(), a_deployment(), reading(0, {host(1): 1}), memory, now=NOON)

    assert arn(1) not in {one for step in got.steps if isinstance(step, Unprotect) for one in step.arns}
    assert not any(isinstance(step, SetDesired) for step in got.steps)


def test_a_protection_that_somebody_took_off_is_given_again() -> None:
    got = decide(
        fleet(), sighting(1, worker(1, protected=False)), reading(0, {host(1): 2}), Memory(), now=NOON
    )

    assert got.steps == (Protect(arns=(arn(1),), minutes=60),)


# ---------------------------------------------------------------- deaths


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"stop_code": "ServiceSchedulerInitiated", "stop_reason": SCALING}, Cause.SCALE_IN),
        (
            {"stop_code": "ServiceSchedulerInitiated", "stop_reason": SCALING, "deployment_id": "old"},
            Cause.DEPLOYMENT,
        ),
        (
            {
                "stop_code": "ServiceSchedulerInitiated",
                "stop_reason": "(service w) (port 8080) is unhealthy in (target-group a) due to (reason b)",
            },
            Cause.HEALTH,
        ),
        (
            {
                "stop_code": "ServiceSchedulerInitiated",
                "stop_reason": "ECS is performing maintenance on the underlying infrastructure",
            },
            Cause.OTHER,
        ),
        (
            {"stop_code": "TerminationNotice", "stop_reason": "Host EC2 (instance i-1) terminated."},
            Cause.OTHER,
        ),
        (
            {"stop_code": "ServiceSchedulerInitiated", "stop_reason": "Task failed container health checks"},
            Cause.HEALTH,
        ),
        ({"stop_code": "InfrastructureHealth"}, Cause.HEALTH),
        ({"stop_code": "SpotInterruption"}, Cause.SPOT),
        ({"stop_code": "TerminationNotice", "stop_reason": "Spot interruption"}, Cause.SPOT),
        ({"stop_code": "TaskFailedToStart"}, Cause.FAILED_TO_START),
        (
            {
                "stop_code": "EssentialContainerExited",
                "exits": ((137, "OutOfMemoryError: Container killed due to memory usage"),),
            },
            Cause.OOM,
        ),
        ({"stop_code": "EssentialContainerExited", "exits": ((137, ""),)}, Cause.OOM),
        ({"stop_code": "EssentialContainerExited", "exits": ((1, ""),)}, Cause.OTHER),
        ({"stop_code": "UserInitiated", "exits": ((137, ""),)}, Cause.OTHER),
        ({"stop_code": ""}, Cause.OTHER),
    ],
)
def test_every_death_has_a_cause(facts: dict[str, Any], cause: Cause) -> None:
    seen = look(1, rollout=Rollout(id="new"))

    assert cause_of(ended(**({"deployment_id": "new"} | facts)), seen) is cause


def test_a_death_counts_once_with_the_tasks_that_the_worker_held() -> None:
    losses, policy = Losses(), fleet()
    alive = sighting(1, worker(9))
    depth = reading(0, {host(9): 2}).of(["heavy"])
    assert losses.count(alive, assess(policy, alive, depth, now=NOON)) == []

    dead = sighting(1, ended(stop_code="SpotInterruption"))
    (death,) = losses.count(dead, None)
    assert (death.cause, death.tasks) == (Cause.SPOT, 2)
    assert losses.count(dead, None) == []


def test_also_what_only_the_broker_counts_does_not_push_it() -> None:
    partial = Reading(taken_at=NOON, queues={"heavy": QueueDepth(queued=50)}, is_complete=False)

    got = decide(fleet(), look(1, failed_start()), partial, Memory(), now=NOON)

    assert (got.numbers.desired_after, got.why) == (1, Why.PARTIAL_READING)
    assert "CannotPullContainerError" in (got.trouble or "")
