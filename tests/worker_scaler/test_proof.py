"""What proves a worker idle, and what does not: other queues' rows, old readings, a second source's word."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.crosscheck import Messages
from worker_scaler.decide import decide
from worker_scaler.decision import Decision, Why
from worker_scaler.executors import Executors
from worker_scaler.memory import Memory
from worker_scaler.model import QueueDepth, Reading
from worker_scaler.sources.events import SourceEvents
from worker_scaler.sources.facts import Fact, Meaning, to_reading
from worker_scaler.sources.sqs import CrossCheck
from worker_scaler.steps import Give, SetDesired, Unprotect

from .fakes import NOON, World, arn, fleet, host, reading, sighting, worker

A_TICK = timedelta(seconds=10)


def lets_somebody_go(decision: Decision) -> bool:
    return decision.numbers.desired_after < decision.numbers.desired_before or any(
        isinstance(step, Unprotect) for step in decision.steps
    )


def test_a_worker_that_runs_a_task_of_another_queue_is_busy() -> None:
    other = Reading(taken_at=NOON, queues={"other": QueueDepth(running=1, busy_hosts={host(2): 1})})

    got = decide(fleet(), sighting(2, worker(1), worker(2)), other, Memory(), now=NOON)

    assert got.occupancy is not None
    assert got.occupancy.tasks == {arn(2): 1}
    assert [step.arns for step in got.steps if isinstance(step, Unprotect)] == [(arn(1),)]


def test_busy_hosts_of_other_queues_that_are_not_ours_hold_nothing_up() -> None:
    other = Reading(taken_at=NOON, queues={"other": QueueDepth(running=1, busy_hosts={"10.9.9.9": 1})})

    got = decide(fleet(), sighting(1, worker(1)), other, Memory(), now=NOON)

    assert got.occupancy is not None
    assert got.occupancy.unmatched_hosts == ()
    assert got.why is Why.RELEASING


def test_a_worker_that_runs_a_task_of_an_executor_that_nobody_listed_is_busy() -> None:
    fact = Fact(NOON, False, "running", "heavy", "celery_gpu", "running", host(2), tasks=1)
    read = to_reading([fact], Meaning(executors=Executors(celery=frozenset({"default"}))))

    got = decide(fleet(), sighting(1, worker(2)), read, Memory(), now=NOON)

    assert got.occupancy is not None
    assert got.occupancy.tasks == {arn(2): 1}
    assert not lets_somebody_go(got)
    assert got.numbers.demand_tasks == 0


@pytest.mark.parametrize("age_seconds", [11, 30, 59])
def test_a_reading_older_than_a_tick_proves_nobody_idle(age_seconds: float) -> None:
    memory = Memory(releasing=frozenset({arn(1)}))
    at = NOON - timedelta(seconds=age_seconds)

    for seen in (worker(1), worker(1, protected=False)):
        got = decide(fleet(), sighting(2, seen, worker(2)), reading(0, at=at), memory, now=NOON)
        assert not lets_somebody_go(got)
        assert got.why is Why.STALE_READING


def test_a_reading_older_than_a_tick_still_scales_out() -> None:
    at = NOON - timedelta(seconds=50)

    got = decide(fleet(), sighting(0), reading(7, at=at), Memory(), now=NOON)

    assert got.steps == (SetDesired(count=4, before=0),)


class Queues:
    """An SQS that counts what the test says."""

    def __init__(self, messages: Messages | None) -> None:
        self.messages = messages

    def count(self) -> dict[str, Messages | None]:
        return {"heavy": self.messages}


def ticks_of_an_empty_database(world: World, queues: Queues, count: int) -> list[Decision]:
    clock, memory, taken = FakeClock(world.now), Memory(), []
    telemetry = Telemetry(service="worker-scaler", version="0", clock=clock)
    check = CrossCheck(queues, clock=clock, events=SourceEvents(telemetry))  # type: ignore[arg-type]  # as SQS
    for _ in range(count):
        read = check(Reading(taken_at=world.now, queues={}))
        taken.append(decide(fleet(), world.look(), read, memory, now=world.now))
        memory = taken[-1].memory
        for step in taken[-1].steps:
            world.do(step)
        world.pass_time()
        clock.advance(10)
    return taken


def test_a_database_that_knows_nothing_lets_nobody_go_while_sqs_counts_messages() -> None:
    world = World(5)
    world.busy = {world.start(protected=True): 1 for _ in range(5)}

    taken = ticks_of_an_empty_database(world, Queues(Messages(visible=0, in_flight=5)), 17)

    assert {decision.why for decision in taken} == {Why.DOUBTED}
    assert (world.desired, world.protected, world.killed_busy) == (5, 5, [])


def test_ghosts_hold_nobody_once_they_are_proven_to_be_ghosts() -> None:
    world = World(5)
    for _ in range(5):
        world.start(protected=True)

    ticks_of_an_empty_database(world, Queues(Messages(visible=0, in_flight=5)), 25)

    assert world.desired == 0


def test_an_sqs_that_does_not_answer_keeps_the_last_worker_and_no_more() -> None:
    world = World(5)
    for _ in range(5):
        world.start(protected=True)

    ticks_of_an_empty_database(world, Queues(None), 25)

    assert world.desired == 1


def test_with_agents_a_doubt_keeps_the_last_worker_only_for_their_own_word_is_the_proof() -> None:
    doubted = Reading(taken_at=NOON, queues={"heavy": QueueDepth(doubt="SQS", is_contradicted=True)})
    world = World(3)
    world.has_agents = True
    for _ in range(3):
        world.start(protected=True)

    got = decide(fleet(agent_port=9465), world.look(), doubted, Memory(), now=NOON)

    assert any(isinstance(step, Give) for step in got.steps)
    assert got.why is not Why.DOUBTED
