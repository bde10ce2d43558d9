"""Calls that take long, and answers that nobody expected: each is the failure of one part."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from sidecar.errors import Transient
from worker_scaler.agents import DEADLINE_SECONDS, HttpAgents
from worker_scaler.freeze import Freeze
from worker_scaler.model import Fleet, Phase, Sighting
from worker_scaler.steps import Protect, Refusal, SetDesired, Unprotect

from .agent_server import agent_server
from .fakes import World, fleet, host, worker
from .test_cycle import Bench


async def test_protections_that_time_out_do_not_keep_a_backlog_waiting() -> None:
    world = World(40)
    for _ in range(40):
        world.start()
    world.queued = 200
    bench = Bench(world, policy=fleet(max_workers=100))
    asked: list[int] = []

    def slow(fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        del fleet, minutes
        asked.append(len(arns))
        bench.clock.advance(8)
        raise Transient("Read timeout")

    bench.services.protect = slow  # type: ignore[method-assign]  # an ECS that does not answer this action
    with pytest.raises(Transient, match="Read timeout"):
        await bench.tick()

    assert world.desired == 100
    assert bench.services.acts == [SetDesired(count=100, before=40)]
    assert asked == [10], "one timeout of a kind is enough for one tick"


async def test_protections_that_are_refused_at_once_are_each_tried() -> None:
    world = World(20)
    for _ in range(20):
        world.start(tasks=1)
    bench = Bench(world)
    asked: list[int] = []

    def refusing(fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        del fleet, minutes
        asked.append(len(arns))
        raise Transient("Throttled")

    bench.services.protect = refusing  # type: ignore[method-assign]  # an ECS that throttles this action
    with pytest.raises(Transient):
        await bench.tick()

    assert asked == [10, 10]


async def test_nobody_is_let_go_on_a_proof_that_grew_old_while_the_tick_lasted() -> None:
    world = World(12)
    workers = [world.start(protected=True) for _ in range(12)]
    world.busy = dict.fromkeys(workers[1:], 2)
    bench = Bench(world)
    await bench.tick()
    exposed = [one for one in workers if not world.workers[one].is_protected(world.now)]
    assert exposed == [workers[0]]
    for one in workers[1:]:  # their renewals are due, and come before the count is lowered
        world.protect(one, minutes=10)

    def slow(fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        del fleet
        world.pass_time(20)
        bench.clock.advance(20)
        world.busy[exposed[0]] = 1  # it received a task meanwhile
        return tuple(refusal for one in arns if (refusal := world.protect(one, minutes)) is not None)

    bench.services.protect = slow  # type: ignore[method-assign]  # an ECS that takes 20 s a call
    with pytest.raises(Transient, match="Nobody is let go"):
        await bench.tick()

    assert world.desired == 12
    assert world.killed_busy == []


async def test_a_look_that_took_long_ago_lets_nobody_go_either() -> None:
    world = World(2)
    world.start(protected=True)
    world.start(protected=True)
    bench = Bench(world)
    read = bench.source.read

    def slow_read() -> object:
        bench.clock.advance(15)
        world.pass_time(15)
        return read()

    bench.source.read = slow_read  # type: ignore[method-assign,assignment]  # a source that takes 15 s
    with pytest.raises(Transient, match="Nobody is let go"):
        await bench.tick()

    assert not any(isinstance(act, Unprotect) for act in bench.services.acts)


async def test_a_death_is_not_counted_again_after_the_lock_was_lost_for_a_moment() -> None:
    world = World(1)
    world.start()
    gone = worker(
        99,
        Phase.STOPPED,
        stop_code="ServiceSchedulerInitiated",
        stop_reason="Scaling activity initiated by (deployment ecs-svc/1)",
        stopped_at=world.now,
    )
    world.strange_hosts = {host(99): 2}
    look = world.look
    world.look = lambda: Sighting(desired=1, workers=(*look().workers, gone))  # type: ignore[method-assign]
    bench = Bench(world)

    for _ in range(3):
        await bench.tick()
        bench.cycle.forget()

    assert bench.metric("tasks_lost_to_scale_in_total") == 2


async def test_a_source_that_raises_what_nobody_thought_of_is_a_source_without_an_answer() -> None:
    world = World(2)
    world.settle()
    bench = Bench(world)
    bench.source.error = OverflowError("date value out of range")

    with pytest.raises(Transient, match="OverflowError: date value out of range"):
        await bench.tick()

    assert [type(act) for act in bench.services.acts] == [Protect]
    assert bench.explained()["why"] == "no_reading"


async def test_a_fleet_that_cannot_be_decided_is_that_fleets_failure() -> None:
    endless = Freeze(cron="0 0 * * *", time_zone="UTC", duration=timedelta(minutes=2e9))
    bench = Bench(World(), policy=fleet(freezes=(endless,)))

    with pytest.raises(Transient, match="Fleet 'heavy' could not be steered"):
        await bench.tick()

    assert bench.metric("fleet_failures_total") == 1


def test_an_agent_with_an_absurd_date_is_silent_and_the_others_are_heard() -> None:
    with agent_server() as absurd, agent_server() as good:
        absurd.state["order_until"] = "0001-01-01T00:00:00+14:00"
        agents = HttpAgents(None)
        seen = worker(1, arn=good.state["task_arn"], addresses=("127.0.0.1",))

        odd = agents.ask(fleet(agent_port=absurd.port), [seen])
        heard = agents.ask(fleet(agent_port=good.port), [seen])

    assert "out of range" in odd.failures[seen.arn]
    assert seen.arn in heard.states


@contextmanager
def dripping() -> Iterator[tuple[int, Callable[[], int]]]:
    """An agent that sends a byte, waits until it was surely read, and sends the next, without end."""
    sent, ends = [0], threading.Event()

    def serve() -> None:
        with suppress(OSError):
            caller, _ = server.accept()
            with caller:
                caller.recv(4096)
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not ends.wait(0.02):
                    caller.sendall(b" ")
                    sent[0] += 1

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], lambda: sent[0]
        finally:
            ends.set()
            thread.join(10)


class Drip:
    """A clock that shows how long a reader has listened to an agent that sends a byte at a time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += DEADLINE_SECONDS / 3
        return self.now


def test_an_agent_that_drips_its_answer_is_given_up_at_the_deadline() -> None:
    with dripping() as (port, pieces):
        agents = HttpAgents(None, clock=Drip())  # type: ignore[arg-type]  # it is only asked for the time
        seen = worker(1, addresses=("127.0.0.1",))

        answers = agents.ask(fleet(agent_port=port), [seen])

        assert "no whole answer" in answers.failures[seen.arn]
        assert pieces() < 1000, "it did not wait for the end"
