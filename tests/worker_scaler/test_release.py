"""How surplus workers are let go: twice proven idle, everybody else protected meanwhile."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings, strategies as st

from sidecar.testing.replay import run_every_prefix
from worker_scaler.decide import decide, workers_for
from worker_scaler.decision import Decision, Why
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, Phase, Reading, Sighting
from worker_scaler.steps import Protect, SetDesired, Step, Unprotect

from .fakes import NOON, World, arn, fleet, host, reading, sighting, worker

A_TICK = timedelta(seconds=10)


def next_tick(policy: Fleet, look: Sighting, memory: Memory, read: Reading | None = None) -> Decision:
    return decide(policy, look, read or reading(at=NOON + A_TICK), memory, now=NOON + A_TICK)


def test_idle_workers_are_unprotected_first_and_the_count_follows_a_tick_later() -> None:
    policy, busy = fleet(), {host(1): 1}
    first = decide(policy, sighting(3, worker(1), worker(2), worker(3)), reading(0, busy), Memory(), now=NOON)
    assert (first.steps, first.why) == ((Unprotect(arns=(arn(2), arn(3))),), Why.RELEASING)

    look = sighting(3, worker(1), worker(2, protected=False), worker(3, protected=False))
    second = next_tick(policy, look, first.memory, reading(0, busy, at=NOON + A_TICK))
    assert (second.steps, second.why) == ((SetDesired(count=1, before=3),), Why.SURPLUS)


def test_an_unprotected_worker_that_became_busy_is_protected_before_anything_else() -> None:
    policy = fleet()
    first = decide(policy, sighting(2, worker(1), worker(2)), reading(), Memory(), now=NOON)

    look = sighting(2, worker(1, protected=False), worker(2, protected=False))
    second = next_tick(policy, look, first.memory, reading(0, {host(2): 1}, at=NOON + A_TICK))

    assert second.steps == (Protect(arns=(arn(2),), minutes=60),)
    assert second.why is Why.PROTECTING


def test_when_work_comes_back_everybody_is_protected_again_and_nothing_is_lowered() -> None:
    policy = fleet()
    first = decide(policy, sighting(2, worker(1), worker(2)), reading(), Memory(), now=NOON)

    look = sighting(2, worker(1, protected=False), worker(2, protected=False))
    second = next_tick(policy, look, first.memory, reading(1, at=NOON + A_TICK))

    assert second.steps == (Protect(arns=(arn(1), arn(2)), minutes=60),)
    assert second.why is Why.TASKS_QUEUED
    assert not second.memory.releasing


def test_a_failed_reading_between_the_two_proofs_starts_them_anew() -> None:
    policy = fleet()
    first = decide(policy, sighting(1, worker(1)), reading(), Memory(), now=NOON)
    exposed = sighting(1, worker(1, protected=False))

    blind = decide(policy, exposed, None, first.memory, now=NOON + A_TICK)

    assert blind.steps == (Protect(arns=(arn(1),), minutes=60),)
    assert not blind.memory.releasing


def test_after_a_restart_an_unprotected_worker_is_not_taken_for_a_released_one() -> None:
    got = decide(fleet(), sighting(1, worker(1, protected=False)), reading(), Memory(), now=NOON)

    assert not any(isinstance(step, SetDesired) for step in got.steps)


def test_a_worker_nobody_confirmed_keeps_the_count_up_although_others_are_confirmed() -> None:
    policy = fleet()
    first = decide(policy, sighting(1, worker(1)), reading(), Memory(), now=NOON)
    stranger = worker(2, protected=False)

    got = next_tick(policy, sighting(2, worker(1, protected=False), stranger), first.memory)

    assert got.numbers.desired_after == 2


def test_starting_workers_go_first_and_leave_the_running_ones_protected() -> None:
    policy = fleet(min_workers=1)
    look = sighting(2, worker(1), worker(2, Phase.PENDING))
    first = decide(policy, look, reading(), Memory(), now=NOON)
    assert first.steps == ()

    second = next_tick(policy, look, first.memory)
    assert second.steps == (SetDesired(count=1, before=2),)


def test_a_starting_worker_that_already_holds_a_task_is_not_let_go() -> None:
    policy, look = fleet(), sighting(1, worker(2, Phase.PENDING))
    busy = {host(2): 1}
    first = decide(policy, look, reading(0, busy), Memory(), now=NOON)

    second = next_tick(policy, look, first.memory, reading(0, busy, at=NOON + A_TICK))

    assert second.numbers.desired_after == 1


def test_released_workers_that_ecs_has_not_stopped_yet_are_left_alone() -> None:
    policy, busy = fleet(), {host(1): 1}
    look = sighting(1, worker(1), worker(2, protected=False))
    memory = Memory(releasing=frozenset({arn(2)}))

    got = decide(policy, look, reading(0, busy), memory, now=NOON)

    assert (got.steps, got.why) == ((), Why.STEADY)


def test_the_whole_window_must_fit_before_anybody_is_released() -> None:
    policy = fleet(tasks_per_worker=1, scale_in_window=timedelta(seconds=60))
    look, memory, now = sighting(2, worker(1), worker(2)), Memory(), NOON
    whys = []
    for demand in (2, 0, 0, 0, 0, 0, 0, 0):
        busy = {host(number): 1 for number in range(1, demand + 1)}
        got = decide(policy, look, reading(0, busy, at=now), memory, now=now)
        memory, now = got.memory, now + A_TICK
        whys.append(got.why)

    assert whys == [Why.STEADY, *[Why.WINDOW] * 6, Why.RELEASING]


def test_a_gap_in_the_readings_starts_the_window_anew() -> None:
    policy = fleet(scale_in_window=timedelta(seconds=60))
    memory = decide(policy, sighting(1, worker(1)), reading(), Memory(), now=NOON).memory
    later = NOON + timedelta(minutes=10)

    got = decide(policy, sighting(1, worker(1)), reading(at=later), memory, now=later)

    assert got.why is Why.WINDOW


# ---------------------------------------------------------------- interrupted anywhere, it converges


def run_to_rest(policy: Fleet, world: World, ticks: int = 12) -> list[Step]:
    """Steer a world from an empty memory until nothing changes; return the steps."""
    memory, done = Memory(), []
    for _ in range(ticks):
        decision = decide(policy, world.look(), world.read(), memory, now=world.now)
        memory = decision.memory
        for step in decision.steps:
            world.do(step)
            done.append(step)
        world.settle()
        world.pass_time()
    return done


@given(
    busy=st.lists(st.integers(0, 2), max_size=12),
    protected=st.lists(st.booleans(), min_size=12, max_size=12),
    desired=st.integers(0, 14),
    queued=st.integers(0, 6),
)
@settings(deadline=None)
def test_stopped_after_any_step_a_restarted_scaler_reaches_the_goal_and_kills_nobody(
    busy: list[int], protected: list[bool], desired: int, queued: int
) -> None:
    policy = fleet()

    def start() -> World:
        # More running than desired is ECS's business of a moment ago; it has settled when the scaler looks.
        world = World(max(desired, len(busy)))
        for tasks, is_protected in zip(busy, protected, strict=False):
            world.start(tasks=tasks, protected=is_protected)
        world.settle()
        world.queued = queued
        return world

    def plan(world: World) -> list[Step]:
        return run_to_rest(policy, world.copy())

    def holds(world: World) -> None:
        assert world.killed_busy == []
        assert world.protected <= world.desired

    def is_goal(world: World) -> None:
        demand = queued + sum(busy)
        assert world.desired >= max(workers_for(policy, demand), len(world.busy))
        if queued == 0:
            assert world.desired == max(workers_for(policy, demand), len(world.busy))
        assert all(world.workers[one].is_protected(world.now) for one in world.busy)

    def apply(world: World, step: Step) -> None:
        world.do(step)

    assert run_every_prefix(start=start, plan=plan, apply=apply, holds=holds, is_goal=is_goal) > 0
