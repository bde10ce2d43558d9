"""A pass cancelled (deadline, SIGTERM) while one of its threads is inside a call of a slow file system."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dags_agent import build, cycle, publish
from dags_agent.identity import Identity
from dags_agent.layout import Layout
from dags_agent.state import read_hold
from dags_agent.threads import in_thread
from dags_agent.writer import WriterLease
from sidecar.clock import Stop
from sidecar.errors import Transient

from .fakes import Agent, FakeSource, an_agent

ONE = {"a.py": b"V = 1\n", "lib/b.py": b"V = 1\n"}
TWO = ONE | {"a.py": b"V = 2\n"}
DEADLINE_SECONDS = 15.0
# How long a wrong implementation gets to show itself; a right one does nothing meanwhile.
WATCHED_SECONDS = 0.2


class Slow:
    """A call of which the first does not begin its work until it is let go."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.entered, self.let_go, self.returned = (threading.Event() for _ in range(3))

    def __call__(self, *arguments: object) -> object:
        if self.entered.is_set():
            return self._call(*arguments)
        self.entered.set()
        try:
            assert self.let_go.wait(DEADLINE_SECONDS)
            return self._call(*arguments)
        finally:
            self.returned.set()

    def as_method(self) -> Callable[..., object]:
        """Return it as a function, which is bound to an object as a method is."""

        def method(*arguments: object) -> object:
            return self(*arguments)

        return method


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    source = FakeSource()
    source.set(ONE)
    with an_agent(tmp_path / "efs", source) as agent:
        yield agent


async def cancel_in(slow: Slow, task: asyncio.Task[None], *, times: int) -> None:
    """Cancel the pass while its thread is in the call, as the deadline does, and then the order to stop."""
    assert await asyncio.to_thread(slow.entered.wait, DEADLINE_SECONDS)
    for _ in range(times):
        task.cancel()
        await asyncio.wait((task,), timeout=WATCHED_SECONDS)


async def end(slow: Slow, task: asyncio.Task[None]) -> None:
    """Let the thread go, and return when it has ended and the pass too."""
    slow.let_go.set()
    assert await asyncio.to_thread(slow.returned.wait, DEADLINE_SECONDS)
    await asyncio.wait((task,), timeout=DEADLINE_SECONDS)
    assert task.cancelled()


def names_of_releases(agent: Agent) -> list[str]:
    return sorted(path.name for path in (agent.target / "releases").glob("*/"))


@pytest.mark.parametrize("times", [1, 2])
async def test_a_pass_cancelled_while_it_seals_leaves_no_release_to_mistake_for_a_whole_one(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    await agent.cycle.sync()
    first = agent.live()
    agent.source.set(TWO)
    rename = Slow(Path.rename)
    monkeypatch.setattr(Path, "rename", rename.as_method())
    delete = shutil.rmtree

    def delete_slowly(path: Path) -> None:
        for file in (item for item in path.rglob("*") if item.is_file()):
            file.unlink()
        assert rename.returned.wait(DEADLINE_SECONDS)  # half done when the rename comes, if it still comes
        delete(path)

    monkeypatch.setattr(shutil, "rmtree", delete_slowly)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.cycle.sync())
        await cancel_in(rename, task, times=times)
        await end(rename, task)

    assert names_of_releases(agent) == [first]
    assert agent.leftovers() == []
    await agent.cycle.sync()
    assert agent.files() == TWO


@pytest.mark.parametrize("times", [1, 2])
async def test_a_pass_cancelled_while_it_moves_current_never_leaves_it_dangling(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    await agent.cycle.sync()
    agent.source.set(TWO)
    move = Slow(Layout.point_current_at)
    monkeypatch.setattr(Layout, "point_current_at", move.as_method())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.cycle.sync())
        await cancel_in(move, task, times=times)
        await end(move, task)

    assert agent.files() == TWO, "the order to move was given before the order to stop"
    await agent.cycle.sync()
    assert agent.files() == TWO
    assert agent.leftovers() == []


async def test_a_cancelled_pass_lets_nobody_else_publish_before_its_thread_has_ended(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.cycle.sync()
    agent.source.set(TWO)
    hold = Slow(read_hold)
    monkeypatch.setattr(publish, "read_hold", hold)
    other = WriterLease(Layout(agent.target), lease_seconds=30, clock=agent.clock, stop=Stop())
    other._me = Identity(host="elsewhere")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.cycle.sync())
        await cancel_in(hold, task, times=2)
        assert other.try_claim() is None
        await end(hold, task)

    fence = other.try_claim()
    assert fence is not None
    fence.release()
    other.close()
    assert agent.files() in (ONE, TWO)


async def test_a_look_at_a_hung_mount_does_not_outlast_the_deadline(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = Slow(read_hold)
    monkeypatch.setattr(cycle, "read_hold", hold)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.cycle.sync())
        assert await asyncio.to_thread(hold.entered.wait, DEADLINE_SECONDS)
        task.cancel()
        await asyncio.wait((task,), timeout=DEADLINE_SECONDS)
        assert task.cancelled()
        hold.let_go.set()


async def test_one_link_that_fails_does_not_leave_the_others_running(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.source.set({f"{number}/x.py": b"V = 1\n" for number in range(4)} | {"a.py": b"V = 1\n"})
    await agent.cycle.sync()
    agent.source.set(agent_files := agent.files() | {"a.py": b"V = 2\n"})
    share = Slow(build.link)

    def share_or_fail(old: str, new: str, file: object, take: object) -> object:
        if old.endswith("/0/x.py"):
            return share(old, new, file, take)
        assert share.entered.wait(DEADLINE_SECONDS)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(build, "link", share_or_fail)
    async with asyncio.TaskGroup() as group:
        failing = group.create_task(_outcome(agent))
        assert await asyncio.to_thread(share.entered.wait, DEADLINE_SECONDS)
        await asyncio.wait((failing,), timeout=WATCHED_SECONDS)
        assert not failing.done()
        share.let_go.set()
    assert "Input/output error" in str(failing.result())
    assert agent.leftovers() == []

    monkeypatch.undo()
    await agent.cycle.sync()
    assert agent.files() == agent_files


async def _outcome(agent: Agent) -> Transient | None:
    try:
        await agent.cycle.sync()
    except Transient as err:
        return err
    return None


async def test_a_call_that_had_not_begun_when_it_was_cancelled_never_begins() -> None:
    slow, called = Slow(lambda: None), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(in_thread(threads, slow))
            assert await asyncio.to_thread(slow.entered.wait, DEADLINE_SECONDS)
            queued = group.create_task(in_thread(threads, called.set))
            await asyncio.wait((queued,), timeout=0)
            queued.cancel()
            await asyncio.wait((queued,), timeout=DEADLINE_SECONDS)
            assert queued.cancelled()
            slow.let_go.set()
        assert running.done()
    assert not called.is_set()
