"""What an operator's commands refuse, and what they leave behind when they do."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dags_agent import commands
from dags_agent.errors import Fenced, StandsBy
from dags_agent.layout import Layout
from dags_agent.listing import Listed
from dags_agent.state import place_hold, read_hold, read_superseded
from dags_agent.writer import Fence
from sidecar.errors import ConfigError, Permanent, Transient

from .fakes import Agent, FakeSource, an_agent, another_writer

Rollback = Callable[..., int]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    source = FakeSource()
    source.set({"a.py": b"V = 1\n"})
    with an_agent(tmp_path / "efs", source) as agent:
        yield agent


def rollback(agent: Agent, release_id: str | None = None) -> int:
    return commands.rollback(agent.settings, agent.runtime, Namespace(release_id=release_id))


async def test_there_is_nothing_to_go_back_to_after_the_first_release(agent: Agent) -> None:
    await agent.cycle.sync()
    with pytest.raises(Permanent, match="no release older"):
        rollback(agent)
    assert read_hold(Layout(agent.target)) is None


async def test_a_release_that_is_no_longer_whole_is_refused_and_nothing_moves(agent: Agent) -> None:
    await agent.cycle.sync()
    first = agent.live()
    agent.source.set({"a.py": b"V = 2\n"})
    await agent.cycle.sync()
    (agent.target / "releases" / first / "a.py").unlink()
    second = agent.live()
    with pytest.raises(Permanent, match=r"1 of its files are not as published, for example 'a\.py'"):
        rollback(agent, first)
    (agent.target / "releases" / f"{first}.json").unlink()
    with pytest.raises(Permanent, match="manifest is unusable"):
        rollback(agent, first)
    assert agent.live() == second
    assert read_hold(Layout(agent.target)) is None


async def test_a_rollback_is_repeatable_and_remembers_what_it_replaced(agent: Agent) -> None:
    await agent.cycle.sync()
    first = agent.live()
    agent.source.set({"a.py": b"V = 2\n"})
    await agent.cycle.sync()
    second = agent.live()
    for _ in range(2):
        assert rollback(agent, first) == 0
    assert agent.live() == first
    assert read_superseded(Layout(agent.target)).keys() == {second}


async def test_a_rollback_killed_when_current_has_moved_remembers_what_it_replaced(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.cycle.sync()
    agent.source.set({"a.py": b"V = 2\n"})
    await agent.cycle.sync()
    second = agent.live()
    move = Layout.point_current_at

    def move_and_be_killed(self: Layout, release_id: str) -> None:
        move(self, release_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(Layout, "point_current_at", move_and_be_killed)
    with pytest.raises(KeyboardInterrupt):
        rollback(agent)
    assert agent.live() != second
    assert read_superseded(Layout(agent.target)).keys() == {second}


async def test_a_rollback_does_not_publish_beside_an_agent_that_does(agent: Agent) -> None:
    await agent.cycle.sync()
    with another_writer(agent.target, agent.clock):
        agent.runtime.stop.request("no time to wait")
        with pytest.raises(StandsBy, match="Another dags-agent"):
            rollback(agent)


async def test_a_release_with_other_bytes_of_the_same_size_is_not_gone_back_to(agent: Agent) -> None:
    await agent.cycle.sync()
    first = agent.live()
    agent.source.set({"a.py": b"V = 2\n"})
    await agent.cycle.sync()
    (agent.target / "releases" / first / "a.py").write_bytes(b"V = 6\n")
    with pytest.raises(Permanent, match="1 of its files are not as published"):
        rollback(agent)
    assert read_hold(Layout(agent.target)) is None


@pytest.mark.parametrize("was_held", [False, True])
async def test_a_rollback_that_loses_the_lease_leaves_the_hold_as_it_was(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, was_held: bool
) -> None:
    await agent.cycle.sync()
    agent.source.set({"a.py": b"V = 2\n"})
    await agent.cycle.sync()
    second = agent.live()
    if was_held:
        place_hold(Layout(agent.target), second, since=agent.clock.now())
    former = read_hold(Layout(agent.target))

    def lost(_: Fence) -> None:
        raise Fenced("somebody else took it")

    monkeypatch.setattr(Fence, "refuse_when_lost", lost)
    with pytest.raises(Fenced):
        rollback(agent)
    assert read_hold(Layout(agent.target)) == former
    assert agent.live() == second


async def test_an_agent_that_starts_held_tells_what_is_live_and_once_that_it_is_held(
    agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    await agent.cycle.sync()
    place_hold(Layout(agent.target), agent.live(), since=agent.clock.now())
    with an_agent(agent.target, agent.source) as started:
        capsys.readouterr()
        for _ in range(2):
            await started.cycle.sync()
        assert len(re.findall(r"info +\] held", capsys.readouterr().out)) == 1
        assert started.metric("release_info", release=agent.live()) == 1
        assert started.metric("release_published_timestamp_seconds") > 0
        assert started.cycle.has_live.is_set()


async def test_an_agent_that_starts_without_s3_looks_after_the_live_release(agent: Agent) -> None:
    await agent.cycle.sync()

    async def unreachable() -> list[Listed]:
        raise Transient("S3 does not answer")

    agent.source.list = unreachable  # type: ignore[method-assign]  # the network
    with an_agent(agent.target, agent.source) as started:
        with pytest.raises(Transient):
            await started.cycle.tick()
        assert started.cycle.has_live.is_set()
        assert started.metric("release_info", release=agent.live()) == 1


@pytest.mark.parametrize("command", [commands.releases, commands.verify])
def test_a_target_that_is_not_mounted_is_an_error_and_no_empty_answer(
    agent: Agent, command: Callable[..., int]
) -> None:
    with pytest.raises(ConfigError, match="it is no directory here"):
        command(agent.settings, agent.runtime, Namespace(release_id=None))


async def test_who_was_frozen_and_taken_over_while_it_built_says_that_and_not_what_was_swept(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Fence) -> None:
        raise Fenced("somebody else took it")

    async def swept(_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Fence, "refuse_when_lost", lost)
    monkeypatch.setattr(agent.cycle._mode, "publish", swept)
    with pytest.raises(Fenced):
        await agent.cycle.sync()
