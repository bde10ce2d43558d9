"""What a count is never below: the places of busy and of protected workers, told apart."""

from __future__ import annotations

from datetime import timedelta

import pytest

from worker_scaler.decide import decide
from worker_scaler.decision import Why
from worker_scaler.memory import Memory
from worker_scaler.model import Phase, QueueDepth, Reading, Rollout, Sighting
from worker_scaler.steps import Protect, SetDesired

from .fakes import NOON, World, arn, fleet, host, reading, sighting, worker


def test_a_busy_worker_without_protection_gets_a_place_beside_protected_idle_ones() -> None:
    seen = sighting(2, worker(1), worker(2), worker(3, protected=False))

    got = decide(fleet(min_workers=2), seen, reading(1, {host(3): 2}), Memory(), now=NOON)

    assert got.steps == (SetDesired(count=3, before=2), Protect(arns=(arn(3),), minutes=60))
    assert got.why is Why.REPAIR


def test_a_worker_that_took_a_task_after_the_count_was_lowered_is_kept() -> None:
    """ECS has not acted yet: it would pick the only one that is not protected."""
    world = World(2)
    exposed = world.start()
    world.start(protected=True)
    world.start(protected=True)
    world.busy[exposed], world.queued = 1, 1

    got = decide(fleet(min_workers=2), world.look(), world.read(), Memory(), now=NOON)
    for step in got.steps:
        world.do(step)
    world.settle()

    assert world.killed_busy == []
    assert world.workers[exposed].is_protected(NOON)


@pytest.mark.parametrize(("queued", "desired_after"), [(0, 2), (1, 4)])
def test_old_workers_give_their_places_to_a_deployment_only_while_they_are_proven_idle(
    queued: int, desired_after: int
) -> None:
    old = [worker(number, deployment_id="old") for number in (1, 2)]
    new = [worker(number, deployment_id="new", protected=False) for number in (3, 4)]
    rollout = Rollout(id="new", state="IN_PROGRESS")
    seen = Sighting(desired=2, workers=(*old, *new), is_deploying=True, rollout=rollout)

    got = decide(fleet(), seen, reading(queued, {host(3): 1, host(4): 1}), Memory(), now=NOON)

    assert got.numbers.desired_after == desired_after


def test_an_unmatched_host_may_be_any_worker_that_is_not_protected() -> None:
    seen = sighting(1, worker(1), worker(2, protected=False))

    got = decide(fleet(), seen, reading(0, {"vm": 1}), Memory(), now=NOON)

    assert (got.numbers.desired_after, got.why) == (2, Why.REPAIR)
    assert got.occupancy is not None
    assert got.occupancy.busy_or_unknown == 1


@pytest.mark.parametrize("kind", ["no reading", "stale", "incomplete"])
def test_without_a_good_reading_a_count_that_somebody_lowered_is_repaired_for_the_protected(
    kind: str,
) -> None:
    """Else ECS refuses every renewal, and they all run out."""
    seen = sighting(1, *(worker(number, protected_until=NOON + timedelta(minutes=9)) for number in (1, 2, 3)))
    empty = {"heavy": QueueDepth()}
    readings = {
        "no reading": None,
        "stale": Reading(taken_at=NOON - timedelta(minutes=5), queues=empty),
        "incomplete": Reading(taken_at=NOON, queues=empty, is_complete=False),
    }

    got = decide(fleet(), seen, readings[kind], Memory(), now=NOON)

    assert got.steps == (SetDesired(count=3, before=1), Protect(arns=(arn(1), arn(2), arn(3)), minutes=60))
    assert got.why is Why.REPAIR


def test_a_paused_scaler_repairs_no_count_and_asks_for_no_renewal_that_ecs_would_refuse() -> None:
    due = NOON + timedelta(minutes=9)
    seen = sighting(1, worker(1, protected_until=due), worker(2, protected_until=due))

    got = decide(fleet(), seen, reading(9), Memory(), now=NOON, is_paused=True)

    assert (got.steps, got.why) == ((), Why.PAUSED)


@pytest.mark.parametrize("has_reading", [True, False])
def test_workers_that_ecs_does_not_describe_never_raise_a_count_above_the_maximum(
    *, has_reading: bool
) -> None:
    """A deployment doubles the workers: raised for each of them, the count would double with every look."""
    desired, counts = 10, []
    for tick in range(4):
        now = NOON + timedelta(seconds=10 * tick)
        unknown = (worker(number + 1, Phase.UNKNOWN) for number in range(2 * desired))
        seen = Sighting(desired=desired, is_deploying=True, workers=tuple(unknown))
        got = decide(
            fleet(max_workers=12), seen, reading(2, at=now) if has_reading else None, Memory(), now=now
        )
        desired = got.numbers.desired_after
        counts.append(desired)

    assert counts == [12, 12, 12, 12]


def test_workers_that_ecs_does_not_describe_forbid_lowering() -> None:
    seen = sighting(3, *(worker(number, Phase.UNKNOWN) for number in (1, 2, 3)))

    got = decide(fleet(max_workers=1), seen, reading(0), Memory(), now=NOON)

    assert got.numbers.desired_after == 3
