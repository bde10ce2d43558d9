"""Links made ahead of the next release, and deletes that no deploy waits for."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dags_agent.layout import Layout
from dags_agent.removal import remove_tree
from sidecar.testing.fake_clock import FakeClock

from .fakes import Agent, FakeSource, an_agent
from .round_trips import RoundTrips

# A directory, a manifest, a note, a lease, a pointer, a record: what a release costs whatever its size.
FIXED_WRITES = 45


def files_of(count: int) -> dict[str, bytes]:
    return {f"team{number % 10}/lib/dag{number}.py": b"V = 1\n" for number in range(count)}


Start = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an agent as `run` does; called again, it is the same agent after a restart."""
    source = FakeSource()
    clock = FakeClock(start=datetime.now(UTC))  # noqa: TID251 - files get their times from the file system
    with ExitStack() as stack:

        def start(files: dict[str, bytes] | None = None, **settings: object) -> Agent:
            if files is not None:
                source.set(files)
            settings = {"wake": asyncio.Event(), "keep_releases": 1, "keep_hours": 0} | settings
            return stack.enter_context(an_agent(tmp_path / "efs", source, clock=clock, **settings))

        yield start


async def change(agent: Agent, files: dict[str, bytes]) -> None:
    agent.clock.advance(5)
    agent.source.set(files)
    await agent.cycle.sync()


@pytest.mark.parametrize("count", [40, 400])
async def test_until_readers_see_a_change_as_much_is_written_however_many_files_there_are(
    start: Start, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(count)
    agent = start(files)
    await agent.cycle.sync()
    trips = RoundTrips(agent.target, monkeypatch)
    until_visible: list[int] = []
    point = Layout.point_current_at

    def pointed(layout: Layout, release_id: str) -> None:
        point(layout, release_id)
        until_visible.append(trips.writes)

    monkeypatch.setattr(Layout, "point_current_at", pointed)
    for version in (b"V = 2\n", b"V = 3\n"):
        trips.begin()
        await change(agent, files | {"team3/lib/dag3.py": version})
        assert agent.files() == files | {"team3/lib/dag3.py": version}
    assert max(until_visible) <= FIXED_WRITES, until_visible


@pytest.mark.parametrize("kind", ["swapped", "linked", "lost", "lost directory", "foreign", "turned"])
async def test_links_made_ahead_are_believed_only_where_they_are_the_live_files(
    start: Start, kind: str, tmp_path: Path
) -> None:
    files = files_of(40)
    agent = start(files)
    await agent.cycle.sync()
    ahead = agent.target / ".dags-agent/ahead" / agent.live() / "team1/lib"
    victim = ahead / "dag1.py"
    if kind == "lost directory":
        shutil.rmtree(ahead)
    elif kind == "foreign":
        (ahead / "evil.py").write_bytes(b"evil\n")
        (ahead / "evil/deep").mkdir(parents=True)
    else:
        victim.unlink()
    if kind == "swapped":
        victim.write_bytes(b"V = 9\n")
    elif kind == "linked":
        (tmp_path / "evil.py").write_bytes(b"V = 9\n")
        victim.symlink_to(tmp_path / "evil.py")
    elif kind == "turned":
        victim.mkdir()
    await change(agent, files | {"team2/lib/dag2.py": b"V = 2\n"})
    assert agent.files() == files | {"team2/lib/dag2.py": b"V = 2\n"}
    assert not [path for path in (agent.target / "current/").rglob("*") if path.is_symlink()]
    assert not (agent.target / "current/team1/lib/evil").exists()


async def test_inodes_that_a_file_system_does_not_tell_are_asked_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(40)
    agent = start(files)
    await agent.cycle.sync()
    victim = agent.target / ".dags-agent/ahead" / agent.live() / "team1/lib/dag1.py"
    victim.unlink()
    victim.write_bytes(b"V = 9\n")

    class Untold:
        """An entry as FUSE gives it when it knows no inodes."""

        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path = entry.name, entry.path
            self.is_dir, self.is_file, self.stat = entry.is_dir, entry.is_file, entry.stat

        def inode(self) -> int:
            return 0xFFFF_FFFF

    class Scanned:
        def __init__(self, path: object) -> None:
            self._entries = scandir(path)  # type: ignore[call-overload]  # as it came

        def __enter__(self) -> Iterator[Untold]:
            return (Untold(entry) for entry in self._entries)

        def __exit__(self, *_: object) -> None:
            self._entries.close()

        def __iter__(self) -> Iterator[Untold]:
            return (Untold(entry) for entry in self._entries)

    scandir = os.scandir
    monkeypatch.setattr("dags_agent.ahead.os.scandir", Scanned)
    agent.clock.advance(5)
    agent.source.set(files | {"team2/lib/dag2.py": b"V = 2\n"})
    await agent.cycle.sync()
    monkeypatch.setattr(os, "scandir", scandir)
    assert agent.files() == files | {"team2/lib/dag2.py": b"V = 2\n"}


async def test_what_another_process_made_ahead_is_not_used_and_not_left_behind(start: Start) -> None:
    files = files_of(40)
    first = start(files)
    await first.cycle.sync()
    (first.target / ".dags-agent/ahead" / first.live() / "team1/lib/evil.py").write_bytes(b"evil\n")
    second = start()
    await change(second, files | {"team2/lib/dag2.py": b"V = 2\n"})
    assert second.files() == files | {"team2/lib/dag2.py": b"V = 2\n"}
    assert [path.name for path in (second.target / ".dags-agent/ahead").iterdir()] == [second.live()]
    assert second.leftovers() == []


async def test_one_pass_alone_makes_nothing_ahead(start: Start) -> None:
    agent = start(files_of(10), wake=None)
    await agent.cycle.sync()
    assert not any((agent.target / ".dags-agent/ahead").iterdir())


async def test_chores_end_when_s3_has_something_new_and_go_on_in_the_next_pass(start: Start) -> None:
    files, wake = files_of(40), asyncio.Event()
    agent = start(files, wake=wake)
    await agent.cycle.sync()
    wake.set()
    await change(agent, files | {"team2/lib/dag2.py": b"V = 2\n"})
    assert agent.files() == files | {"team2/lib/dag2.py": b"V = 2\n"}
    assert [Path(path).parent.name for path in agent.leftovers()] == ["trash"]
    wake.clear()
    await agent.cycle.sync()
    assert agent.leftovers() == []
    assert agent.metric("releases_published_total") == 2


async def test_a_removal_follows_no_link_and_leaves_what_it_points_to(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "precious").write_bytes(b"mine")
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/c.py").write_bytes(b"")
    (root / "a/planted").symlink_to(outside)
    (root / "dangling").symlink_to("nowhere")
    with ThreadPoolExecutor(2) as threads:
        assert await remove_tree(threads, root, is_enough=lambda: False)
        assert await remove_tree(threads, root, is_enough=lambda: False)  # again: idempotent
    assert not root.exists()
    assert (outside / "precious").read_bytes() == b"mine"
