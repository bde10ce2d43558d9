"""Readers keep the releases that they need (docs/adr/0020)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dags_agent.layout import Layout
from dags_agent.leases import leased_releases, read_leases, sweep_leases

from .fakes import Agent, FakeSource, an_agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    source = FakeSource()
    source.set({"a.py": b"0"})
    with an_agent(tmp_path / "efs", source, keep_releases=1, keep_hours=0) as agent:
        yield agent


def place(agent: Agent, release_id: str, *, hours: float, holder: str = "worker-1") -> Path:
    """Do what a reader does, by the protocol."""
    path = Layout(agent.target).leases / release_id / f"{holder}.json"
    path.parent.mkdir(exist_ok=True)
    until = agent.clock.now() + timedelta(hours=hours)
    path.write_text(json.dumps({"holder": holder, "expires_at": until.isoformat()}))
    os.utime(path, (agent.clock.now().timestamp(),) * 2)
    return path


async def publish_version(agent: Agent, version: int) -> str:
    agent.source.set({"a.py": b"%d" % version})
    agent.clock.advance(60)
    await agent.cycle.sync()
    return agent.live()


def on_disk(agent: Agent) -> set[str]:
    return {path.name for path in (agent.target / "releases").glob("*/")}


async def test_a_leased_release_stays_until_its_lease_is_over(agent: Agent) -> None:
    first = await publish_version(agent, 1)
    lease = place(agent, first, hours=1)
    second = await publish_version(agent, 2)
    assert on_disk(agent) == {first, second}
    assert agent.metric("leased_releases") == 1
    agent.clock.advance(3601)
    third = await publish_version(agent, 3)
    assert on_disk(agent) == {third}
    assert not lease.exists()


async def test_without_a_lease_it_goes(agent: Agent) -> None:
    await publish_version(agent, 1)
    second = await publish_version(agent, 2)
    assert on_disk(agent) == {second}


async def test_a_lease_for_ever_ends_after_seven_days(agent: Agent) -> None:
    first = await publish_version(agent, 1)
    place(agent, first, hours=24 * 365)
    layout, now = Layout(agent.target), agent.clock.now()
    assert leased_releases(layout, now=now + timedelta(days=6.9)) == {first}
    assert leased_releases(layout, now=now + timedelta(days=7.1)) == set()


@pytest.mark.parametrize("text", ["", "{ torn", "[]", '{"expires_at": 7}', '{"expires_at": "soon"}'])
async def test_a_lease_that_cannot_be_understood_counts_for_a_day(agent: Agent, text: str) -> None:
    first = await publish_version(agent, 1)
    path = place(agent, first, hours=0)
    path.write_text(text)
    os.utime(path, (agent.clock.now().timestamp(),) * 2)
    layout, now = Layout(agent.target), agent.clock.now()
    assert read_leases(layout, first, now=now + timedelta(hours=23))
    assert not read_leases(layout, first, now=now + timedelta(hours=25))


async def test_a_lease_placed_while_the_release_is_being_retired_brings_it_back(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await publish_version(agent, 1)
    rename = Path.rename

    def lease_as_it_goes(path: Path, to: Path) -> Path:
        if path.name == first:
            place(agent, first, hours=1)
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", lease_as_it_goes)
    await publish_version(agent, 2)
    assert first in on_disk(agent)
    assert (agent.target / "releases" / f"{first}.json").exists()
    assert agent.metric("releases_retired_total") == 0
    assert agent.leftovers() == []


async def test_half_a_lease_is_none_yet(agent: Agent) -> None:
    first = await publish_version(agent, 1)
    path = place(agent, first, hours=1)
    path.rename(path.with_name(".tmp-worker-1"))
    assert not read_leases(Layout(agent.target), first, now=agent.clock.now())


def from_the_future(path: Path) -> None:
    path.write_bytes(b"")
    os.utime(path, (1 << 40, 1 << 40))


@pytest.mark.parametrize(
    "plant",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.write_bytes(b"[" * 60_000),
        lambda path: path.write_bytes(b" " * 70_000),
        from_the_future,
    ],
    ids=["directory", "fifo", "endless", "dangling", "deep", "long", "future"],
)
async def test_a_lease_that_is_no_lease_stops_no_publish(
    agent: Agent, plant: Callable[[Path], object]
) -> None:
    first = await publish_version(agent, 1)
    path = Layout(agent.target).leases / first / "x.json"
    path.parent.mkdir()
    plant(path)
    if not path.is_symlink() and path.stat().st_mtime < (1 << 40):
        os.utime(path, (agent.clock.now().timestamp(),) * 2)
    second = await publish_version(agent, 2)
    assert agent.live() == second
    assert first in on_disk(agent)  # for a day: somebody may have meant a lease


async def test_leases_behind_a_link_are_neither_read_nor_swept(agent: Agent, tmp_path: Path) -> None:
    first = await publish_version(agent, 1)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious.json").write_text('{"expires_at": "2001-01-01T00:00:00+00:00"}')
    os.utime(victim / "precious.json", (0, 0))
    layout = Layout(agent.target)
    for name in (first, "x"):
        (layout.leases / name).symlink_to(victim)
    await publish_version(agent, 2)
    sweep_leases(layout, now=agent.clock.now())
    layout.leases.rename(tmp_path / "leases")
    layout.leases.symlink_to(tmp_path / "leases")
    assert sweep_leases(layout, now=agent.clock.now()) == 0
    assert (victim / "precious.json").exists()
