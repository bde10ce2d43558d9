"""One writer per target, on a file system whose locks cannot be trusted."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dags_agent import writer
from dags_agent.errors import Fenced, StandsBy
from dags_agent.identity import Identity
from dags_agent.layout import Layout
from dags_agent.writer import Fence, WriterLease
from sidecar.clock import Stop
from sidecar.testing.fake_clock import FakeClock

from .fakes import FakeSource, an_agent, another_writer, beat_once

LEASE_SECONDS = 30.0
Start = Callable[[str], WriterLease]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "efs")
    layout.prepare()
    return layout


@pytest.fixture
def agent_on(layout: Layout, clock: FakeClock) -> Iterator[Start]:
    """A lease as an agent on this host sees it: nobody's process can be looked up from another host."""
    made = []

    def start(host: str) -> WriterLease:
        lease = WriterLease(layout, lease_seconds=LEASE_SECONDS, clock=clock, stop=Stop())
        lease._me = Identity(host=host, boot=host, namespace=host, pid=1, started="1")
        made.append(lease)
        return lease

    yield start
    for lease in made:
        lease.close()


def claimed(lease: WriterLease) -> Fence:
    fence = lease.try_claim()
    assert fence is not None
    return fence


def test_a_lease_that_was_given_back_is_free_at_once(agent_on: Start) -> None:
    claimed(agent_on("a")).release()
    claimed(agent_on("b")).refuse_when_lost()


def test_a_holder_that_lives_is_stood_by_for_however_long_it_takes(agent_on: Start, clock: FakeClock) -> None:
    fence, second = claimed(agent_on("a")), agent_on("b")
    assert second.try_claim() is None
    for _ in range(20):
        clock.advance(LEASE_SECONDS - 1)
        beat_once(fence)
        with pytest.raises(StandsBy):
            second.try_claim()


def test_a_silent_holder_is_taken_over_after_the_lease_and_cannot_publish_when_it_wakes(
    agent_on: Start, clock: FakeClock
) -> None:
    old, second = claimed(agent_on("a")), agent_on("b")
    assert second.try_claim() is None
    clock.advance(LEASE_SECONDS - 1)
    assert second.try_claim() is None
    clock.advance(1)
    new = claimed(second)
    with pytest.raises(Fenced):
        old.refuse_when_lost()
    new.refuse_when_lost()


def test_a_holder_that_slept_through_many_others_cannot_publish_either(
    agent_on: Start, clock: FakeClock
) -> None:
    old = claimed(agent_on("a"))
    old._believed_seconds = float("inf")  # its clock stood still too
    second = agent_on("b")
    second.try_claim()
    clock.advance(LEASE_SECONDS)
    for _ in range(40):
        fence = claimed(second)
        fence.refuse_when_lost()
        fence.release()
    with pytest.raises(Fenced, match="somebody else took it"):
        old.refuse_when_lost()


def test_a_holder_that_could_not_write_for_long_does_not_believe_itself(
    agent_on: Start, clock: FakeClock
) -> None:
    fence = claimed(agent_on("a"))
    clock.advance(LEASE_SECONDS * 0.7)
    with pytest.raises(Fenced, match="nothing could be written"):
        fence.refuse_when_lost()


def test_of_many_that_claim_at_once_one_gets_it(agent_on: Start) -> None:
    claimed(agent_on("gone")).release()
    leases = [agent_on(f"host-{number}") for number in range(8)]
    start, got = threading.Barrier(8), []

    def race(lease: WriterLease) -> None:
        start.wait()
        fence = lease.try_claim()
        if fence is not None:
            got.append(fence)

    threads = [threading.Thread(target=race, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_killed_agent_on_this_host_is_taken_over_without_waiting(layout: Layout, agent_on: Start) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dags_agent.layout import Layout;"
        "from dags_agent.writer import WriterLease; from sidecar.clock import Stop, SystemClock;"
        "lease = WriterLease(Layout(Path(sys.argv[1])), lease_seconds=30, clock=SystemClock(), stop=Stop());"
        "assert lease.try_claim(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(layout.target)], check=False)
    here = agent_on("unused")
    here._me = Identity.mine()
    claimed(here).refuse_when_lost()


def test_a_torn_or_foreign_lease_file_is_waited_for_not_ignored(
    layout: Layout, agent_on: Start, clock: FakeClock
) -> None:
    (layout.writer / "000000000007.json").write_bytes(b"{ torn")
    lease = agent_on("a")
    assert lease.try_claim() is None
    clock.advance(LEASE_SECONDS)
    claimed(lease).refuse_when_lost()


def test_old_generations_do_not_pile_up(layout: Layout, agent_on: Start) -> None:
    lease = agent_on("a")
    for _ in range(50):
        claimed(lease).release()
    assert len(list(layout.writer.iterdir())) <= 18
    assert not list(layout.own.glob(".tmp-*"))


def test_the_heartbeat_shows_life_while_something_is_published(agent_on: Start, layout: Layout) -> None:
    lease = agent_on("a")
    lease._seconds = 0.1
    fence = claimed(lease)
    before = fence._path.read_bytes()
    beating = threading.Thread(target=fence.beat_until_released)
    beating.start()
    changed = threading.Event()
    while fence._path.read_bytes() == before:
        changed.wait(0.01)
    fence.release()
    beating.join(10)
    assert writer._parsed(fence._path.read_bytes())["released"] is True


async def test_an_agent_whose_predecessor_died_while_publishing_takes_over_and_publishes(
    tmp_path: Path,
) -> None:
    source, clock = FakeSource(), FakeClock()
    source.set({"a.py": b"1"})
    with an_agent(tmp_path / "efs", source, clock=clock) as agent:
        await agent.cycle.sync()
        source.set({"a.py": b"2"})
        with another_writer(agent.target, clock, lives=False) as dead:
            began = clock.monotonic()
            await agent.cycle.sync()
            assert clock.monotonic() - began >= 30
            assert agent.files() == {"a.py": b"2"}
            with pytest.raises(Fenced):
                dead.refuse_when_lost()


async def test_an_agent_that_stands_by_serves_and_is_no_failure(tmp_path: Path) -> None:
    source = FakeSource()
    source.set({"a.py": b"1"})
    with an_agent(tmp_path / "efs", source) as agent:
        await agent.cycle.sync()
        source.set({"a.py": b"2"})
        with another_writer(agent.target, agent.clock):
            await agent.cycle.tick()
        assert agent.metric("standing_by") == 1
        assert agent.files() == {"a.py": b"1"}
        await agent.cycle.tick()
        assert agent.metric("standing_by") == 0
        assert agent.files() == {"a.py": b"2"}


async def test_a_pass_whose_lease_was_taken_meanwhile_switches_nothing_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    source = FakeSource()
    source.set({"a.py": b"1"})
    with an_agent(tmp_path / "efs", source) as agent:
        await agent.cycle.sync()
        live = agent.live()
        lease = WriterLease(Layout(agent.target), lease_seconds=1, clock=agent.clock, stop=Stop())
        lease._me = Identity(host="impatient")

        def somebody_takes_over(_key: str) -> None:
            lease.try_claim()
            agent.clock.advance(1)
            assert lease.try_claim() is not None

        source.on_open = somebody_takes_over
        source.set({"a.py": b"2"})
        with pytest.raises(Fenced, match="somebody else took it"):
            await agent.cycle.sync()
        lease.close()
        assert agent.live() == live
        assert agent.metric("fenced_total") == 1
        assert agent.leftovers() == []
