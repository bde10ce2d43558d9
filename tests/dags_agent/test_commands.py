"""What an operator's commands refuse, and what they leave behind when they do."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dags_agent import commands
from dags_agent.errors import StandsBy
from dags_agent.layout import Layout
from dags_agent.state import read_hold, read_superseded
from sidecar.errors import Permanent

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
