"""A fleet whose workers speak for themselves: cordoned, quiet, unprotected, and only then let go."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from hypothesis import given, strategies as st

from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.agent import AgentPhase, Order
from worker_scaler.cycle import Cycle
from worker_scaler.decide import decide
from worker_scaler.decision import Decision, Why
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, Packing
from worker_scaler.outlook import Outlook
from worker_scaler.steps import Give, Protect, SetDesired, Unprotect

from .fakes import FakeAgents, FakeServices, FakeSource, World, fleet

A_TICK = timedelta(seconds=10)


def with_agents(**changes: Any) -> Fleet:
    return fleet(**({"agent_port": 9465, "packing": Packing()} | changes))


def a_world(*tasks: int, queued: int = 0) -> World:
    """Return running, protected workers that hold so many tasks each."""
    world = World(len(tasks))
    world.has_agents = True
    for count in tasks:
        world.start(tasks=count, protected=True)
    world.queued = queued
    return world


class Steered:
    """A world that is steered tick by tick."""

    def __init__(self, world: World, policy: Fleet) -> None:
        self.world = world
        self.policy = policy
        self.memory = Memory()

    def tick(self, **more: Any) -> Decision:
        world = self.world
        got = decide(self.policy, world.look(), world.read(), self.memory, now=world.now, **more)
        self.memory = got.memory
        for step in got.steps:
            world.do(step)
        world.settle()
        world.pass_time()
        return got


def test_a_surplus_worker_is_cordoned_then_quiet_then_unprotected_then_let_go() -> None:
    steered = Steered(a_world(1, 0), with_agents(tasks_per_worker=2))
    world = steered.world
    idle = next(one for one in world.workers if one not in world.busy)

    (given,) = steered.tick().steps
    assert isinstance(given, Give)
    assert given.order is Order.CORDON
    assert idle in given.arns
    assert steered.tick().steps == (), "its open poll has not come back"
    world.polling.clear()
    assert steered.tick().steps == (Unprotect(arns=(idle,)),)
    assert steered.tick().steps == (SetDesired(count=1, before=2),)
    assert idle not in world.workers
    assert world.killed_busy == []


def test_a_message_that_the_open_poll_still_brings_is_finished_first() -> None:
    steered = Steered(a_world(1, 0), with_agents(tasks_per_worker=2))
    world = steered.world
    idle = next(one for one in world.workers if one not in world.busy)
    steered.tick()
    world.receiving[idle] = 1
    world.polling.clear()

    for _ in range(5):
        got = steered.tick()
        assert not any(isinstance(step, Unprotect | SetDesired) for step in got.steps)

    assert idle in world.workers


def test_a_queue_that_is_never_empty_does_not_keep_quiet_workers() -> None:
    steered = Steered(a_world(2, 2, 0, 0), with_agents(tasks_per_worker=2))
    steered.world.queued = 1
    for _ in range(6):
        steered.tick()
        steered.world.polling.clear()

    assert steered.world.desired == 3


def test_when_demand_returns_workers_are_uncordoned_before_any_is_started() -> None:
    steered = Steered(a_world(1, 0), with_agents(tasks_per_worker=2, scale_in_window=timedelta(minutes=5)))
    world = steered.world
    steered.tick()
    assert world.cordoned

    world.queued = 3
    got = steered.tick()

    assert world.cordoned == set()
    assert [type(step) for step in got.steps] == [Give]
    assert world.desired == 2


def test_surplus_is_cordoned_at_once_but_stopped_only_after_the_window() -> None:
    policy = with_agents(tasks_per_worker=2, scale_in_window=timedelta(seconds=60))
    steered = Steered(a_world(1, 0), policy)
    steered.world.queued = 1
    steered.world.busy = {next(iter(steered.world.busy)): 2}
    steered.tick()
    steered.world.queued = 0
    desired = []
    for _ in range(10):
        steered.tick()
        steered.world.polling.clear()
        desired.append(steered.world.desired)

    assert desired.count(2) >= 6
    assert desired[-1] == 1


def test_without_packing_nobody_is_cordoned_while_the_window_lasts() -> None:
    policy = with_agents(tasks_per_worker=2, packing=None, scale_in_window=timedelta(minutes=5))
    steered = Steered(a_world(1, 0), policy)
    for _ in range(5):
        assert steered.tick().steps == ()


def test_those_that_get_free_soonest_are_cordoned() -> None:
    world = a_world(1, 1, 1)
    first, second, third = sorted(world.workers)
    outlook = Outlook(remaining_seconds_by_arn={first: 5.0, second: 500.0, third: 50.0})

    world.queued = 1
    got = Steered(world, with_agents(tasks_per_worker=4)).tick(outlook=outlook)

    assert got.numbers.wanted_workers == 1
    assert world.cordoned == {first, third}


def test_a_silent_agent_is_never_proven_idle_and_nothing_else_waits_for_it() -> None:
    steered = Steered(a_world(1, 0, 0), with_agents(tasks_per_worker=2))
    world = steered.world
    silent, other = (one for one in sorted(world.workers) if one not in world.busy)
    world.silent = {silent}
    for _ in range(8):
        steered.tick()
        world.polling.clear()

    assert silent in world.workers
    assert world.workers[silent].is_protected(world.now)
    assert other not in world.workers


def test_a_task_that_only_the_agent_knows_keeps_its_worker() -> None:
    world = a_world(0)
    (only,) = world.workers
    state = world.agent(only)
    assert state is not None
    busy = replace(state, phase=AgentPhase.CORDONED, active_tasks=1, order=Order.CORDON)
    look = replace(world.look(), workers=(replace(world.workers[only], agent=busy),))

    got = decide(with_agents(), look, world.read(), Memory(), now=world.now)

    assert got.numbers.busy_workers == 1
    assert got.numbers.desired_after == 1
    assert not any(isinstance(step, Unprotect) for step in got.steps)


def test_a_task_that_only_the_database_knows_keeps_a_quiet_worker() -> None:
    steered = Steered(a_world(0), with_agents())
    world = steered.world
    (only,) = world.workers
    world.cordoned = {only}
    world.strange_hosts = {world.workers[only].addresses[0]: 1}

    for _ in range(4):
        got = steered.tick()
        assert not any(isinstance(step, Unprotect | SetDesired) for step in got.steps)
        world.polling.clear()


def test_an_order_of_somebody_else_or_about_to_lapse_is_no_proof() -> None:
    world = a_world(0)
    (only,) = world.workers
    world.cordoned = {only}
    quiet = world.agent(only)
    assert quiet is not None
    assert quiet.is_proven_idle(world.now)

    assert not replace(quiet, order_holder="somebody").is_proven_idle(world.now)
    assert not replace(quiet, order_until=world.now + timedelta(seconds=5)).is_proven_idle(world.now)
    assert not replace(quiet, order=None, order_until=None, order_holder=None).is_proven_idle(world.now)
    assert not replace(quiet, phase=AgentPhase.STOPPING).is_proven_idle(world.now)


def test_an_unmatched_host_uncordons_everybody() -> None:
    steered = Steered(a_world(1, 0, 0), with_agents(tasks_per_worker=2))
    steered.tick()
    steered.world.strange_hosts = {"vm": 1}

    got = steered.tick()

    assert got.why is Why.UNMATCHED_HOST
    assert steered.world.cordoned == set()


def test_a_database_that_is_down_uncordons_everybody_and_changes_nothing_else() -> None:
    steered = Steered(a_world(1, 0), with_agents(tasks_per_worker=2))
    steered.tick()
    steered.world.is_reading_down = True

    got = steered.tick()

    assert steered.world.cordoned == set()
    assert all(isinstance(step, Protect | Give) for step in got.steps)


@given(
    tasks=st.lists(st.integers(0, 3), max_size=8),
    queued=st.integers(0, 12),
    cordoned=st.sets(st.integers(0, 7)),
)
def test_working_workers_have_room_for_all_that_waits_or_all_work(
    tasks: list[int], queued: int, cordoned: set[int]
) -> None:
    world = a_world(*tasks, queued=queued)
    for index, one in enumerate(sorted(world.workers)):
        if index in cordoned:
            world.cordoned.add(one)
    policy = with_agents(tasks_per_worker=3)

    Steered(world, policy).tick()

    working = [one for one in world.workers if one not in world.cordoned]
    free = sum(3 - world.busy.get(one, 0) for one in working)
    assert free >= queued or not world.cordoned


async def test_each_worker_is_asked_once_a_tick_and_silent_ones_are_named_once() -> None:
    world = a_world(1, 0)
    world.silent = {max(world.workers)}
    policy, clock = (
        with_agents(tasks_per_worker=1, scale_in_window=timedelta(minutes=5)),
        FakeClock(world.now),
    )
    telemetry = Telemetry(service="worker-scaler", version="0", clock=clock)
    agents = FakeAgents(world)
    cycle = Cycle(
        fleets=[policy],
        services=FakeServices(world),
        source=FakeSource(world),
        agents=agents,
        clock=clock,
        events=Events(telemetry, [policy.name]),
        explanations=Explanations(dry_run=False),
        rng=random.Random(1),  # noqa: S311 - repeatable chance
    )

    with structlog.testing.capture_logs() as told:
        await cycle.tick()
        clock.advance(10)
        world.pass_time()
        await cycle.tick()

    assert [line["workers"] for line in told if line["event"] == "agents_silent"] == [(max(world.workers),)]
    labels = {"fleet": policy.name}
    assert telemetry.registry.get_sample_value("airflow_ecs_worker_scaler_silent_agents", labels) == 1
