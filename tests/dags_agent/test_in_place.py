"""``PUBLISH=in_place``: each file whole at any moment, deletions last, nothing through a link."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dags_agent import commands
from dags_agent.errors import Refused, TargetFailed
from dags_agent.in_place_tree import Tree
from dags_agent.note import read_note
from sidecar.errors import ConfigError, Permanent
from sidecar.testing.fake_clock import FakeClock

from .fakes import PREFIX, Agent, FakeSource, an_agent

ONE = {"a.py": b"V = 1\n", "lib/b.py": b"V = 1\n", "old/c.py": b"V = 1\n"}
TWO = {"a.py": b"V = 2\n", "lib/b.py": b"V = 2\n", "new/d.py": b"V = 2\n"}
Start = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an agent on this test's directory; called again, it is the same agent after a restart."""
    source, clock = FakeSource(), FakeClock()
    source.set(ONE)
    with ExitStack() as stack:

        def start(**settings: Any) -> Agent:
            settings = {"publish": "in_place", "max_delete_fraction": 1} | settings
            return stack.enter_context(an_agent(tmp_path / "dags", source, clock=clock, **settings))

        yield start


def files(agent: Agent) -> dict[str, bytes]:
    """What Airflow finds in the plain directory."""
    found = {}
    for path in agent.target.rglob("*"):
        name = str(path.relative_to(agent.target))
        if path.is_file() and not name.startswith((".dags-agent", ".release.json")):
            found[name] = path.read_bytes()
    return found


def disk_time(directory: Path) -> datetime:
    """The second at which the disk stamps what is written now."""
    (directory / "stamped").touch()
    return datetime.fromtimestamp(int((directory / "stamped").stat().st_mtime), UTC)


def staged(agent: Agent) -> list[Path]:
    return [*(agent.target / ".dags-agent/building").iterdir()]


async def test_a_plain_directory_follows_s3_with_its_deletions(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    assert files(agent) == ONE
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert files(agent) == TWO
    assert not (agent.target / "old").exists()
    assert staged(agent) == []
    note = read_note(agent.target)
    assert note is not None
    assert (note.changed, note.deleted) == (3, 1)


async def test_only_what_changed_is_downloaded_also_after_a_restart(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    inode = (agent.target / "lib/b.py").stat().st_ino
    agent.source.opened.clear()
    await start().cycle.sync()
    agent.source.set(ONE | {"a.py": b"V = 9\n"})
    await start().cycle.sync()
    assert agent.source.opened == [f"{PREFIX}a.py"]
    assert (agent.target / "lib/b.py").stat().st_ino == inode


async def test_nothing_is_touched_before_everything_is_there_and_compiles(start: Start) -> None:
    agent = start(validate="compile")
    await agent.cycle.sync()
    agent.source.set(TWO | {"a.py": b"def (\n"})
    with pytest.raises(Refused, match=r"a\.py does not compile: line 1"):
        await agent.cycle.sync()
    assert files(agent) == ONE
    assert staged(agent) == []


async def test_new_files_come_first_then_changed_ones_and_deletions_last(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = start()
    await agent.cycle.sync()
    done: list[str] = []
    put, delete = Tree.put, Tree.delete

    def noted_put(self: Tree, staged: Path, path: str, **options: Any) -> None:
        done.append(f"put {path}")
        put(self, staged, path, **options)

    def noted_delete(self: Tree, path: str) -> None:
        done.append(f"delete {path}")
        delete(self, path)

    monkeypatch.setattr(Tree, "put", noted_put)
    monkeypatch.setattr(Tree, "delete", noted_delete)
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert done == ["put new/d.py", "put a.py", "put lib/b.py", "delete old/c.py"]


async def test_a_reader_never_sees_half_a_file_nor_misses_one_that_stays(start: Start) -> None:
    agent = start()
    size = 200_000
    names = [f"{number}.py" for number in range(4)]
    agent.source.set(dict.fromkeys(names, b"0" * size))
    await agent.cycle.sync()
    done, problems, looks = threading.Event(), [], 0

    def read() -> None:
        nonlocal looks
        while not done.is_set():
            for name in names:
                content = (agent.target / name).read_bytes()
                if len(content) != size or len(set(content)) != 1:
                    problems.append(name)
            looks += 1

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 9):
        agent.source.set(dict.fromkeys(names, b"%d" % version * size))
        await agent.cycle.sync()
    done.set()
    reader.join(15)
    assert problems == []
    assert looks > 0


@pytest.mark.parametrize("after", range(12))
async def test_a_crash_at_any_call_converges_and_never_believes_a_file_that_it_did_not_finish(
    start: Start, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Killed among the renames, then S3 goes back: the manifest alone would call that unchanged."""
    agent = start()
    await agent.cycle.sync()
    agent.source.set(TWO)
    count = 0
    real = {name: getattr(os, name) for name in ("rename", "unlink", "replace", "rmdir", "mkdir")}

    def dying(name: str) -> Callable[..., object]:
        def call(*arguments: Any, **options: Any) -> object:
            nonlocal count
            count += 1
            if count > after:
                raise OSError(errno.EIO, "killed here")
            return real[name](*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, dying(name))
        with pytest.raises((TargetFailed, OSError)):
            await agent.cycle.sync()
    agent.source.set(ONE)
    restarted = start()
    await restarted.cycle.sync()
    assert files(restarted) == ONE
    assert staged(restarted) == []
    assert not (agent.target / ".dags-agent/journal.json").exists()


async def test_what_the_agent_did_not_write_is_left_alone(start: Start) -> None:
    agent = start()
    agent.target.mkdir()
    (agent.target / "notes.txt").write_bytes(b"mine")
    (agent.target / "old").mkdir()
    (agent.target / "old/mine.sql").write_bytes(b"mine")
    await agent.cycle.sync()
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert files(agent) == TWO | {"notes.txt": b"mine", "old/mine.sql": b"mine"}


@pytest.mark.parametrize("name", ["lib", "lib/b.py"])
async def test_a_planted_link_gives_way_and_is_never_followed(
    start: Start, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.py").write_bytes(b"precious")
    agent = start()
    await agent.cycle.sync()
    planted = agent.target / name
    if planted.is_dir():
        planted.rename(tmp_path / "moved")
    else:
        planted.unlink()
    planted.symlink_to(outside if name == "lib" else outside / "b.py")
    agent.source.set(ONE | {"lib/b.py": b"V = 2\n"})
    await start().cycle.sync()
    assert files(agent)["lib/b.py"] == b"V = 2\n"
    assert not planted.is_symlink()
    assert (outside / "b.py").read_bytes() == b"precious"


async def test_deleting_goes_through_no_link(start: Start, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.py").write_bytes(b"precious")
    agent = start()
    await agent.cycle.sync()
    (agent.target / "old").rename(tmp_path / "moved")
    (agent.target / "old").symlink_to(outside)
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert (outside / "c.py").read_bytes() == b"precious"


async def test_a_file_becomes_a_directory_and_back(start: Start) -> None:
    agent = start()
    for content in ({"x": b"1", "y.py": b""}, {"x/deep/z.py": b"2", "y.py": b""}, {"x": b"3", "y.py": b""}):
        agent.source.set(content)
        await agent.cycle.sync()
        assert files(agent) == content


async def test_byte_code_of_a_deleted_file_goes_with_it_and_other_byte_code_stays(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    for directory, stem in (("old", "c"), ("lib", "b")):
        cache = agent.target / directory / "__pycache__"
        cache.mkdir()
        (cache / f"{stem}.cpython-311.pyc").write_bytes(b"byte code")
    agent.source.set({path: ONE[path] for path in ("a.py", "lib/b.py")})
    await agent.cycle.sync()
    assert not (agent.target / "old").exists()
    assert (agent.target / "lib/__pycache__/b.cpython-311.pyc").exists()


async def test_damage_is_repaired_in_place(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    (agent.target / "a.py").write_bytes(b"V = 6\n")
    (agent.target / "lib/b.py").unlink()
    await agent.cycle.verify()
    await agent.cycle.sync()
    assert files(agent) == ONE


@pytest.mark.parametrize("agent_is_ahead_seconds", [0, 40, -40])
async def test_a_changed_file_never_has_its_predecessors_modification_second(
    start: Start, tmp_path: Path, agent_is_ahead_seconds: int
) -> None:
    """Whichever clock is ahead: the agent's names the publish, the disk's stamps the files."""
    agent = start()
    agent.clock._start = disk_time(tmp_path) + timedelta(seconds=agent_is_ahead_seconds)
    seconds = []
    for version in (b"V = 1\n", b"V = 2\n", b"V = 3\n"):
        agent.source.set(ONE | {"a.py": version})
        await agent.cycle.sync()
        seconds.append(int((agent.target / "a.py").stat().st_mtime))
    assert seconds == sorted(set(seconds))


@pytest.mark.parametrize("stray", ["notes.txt", "deep/notes.txt", "empty/"])
async def test_a_foreign_directory_in_a_files_place_leaves_out_that_file_alone_and_until_it_is_gone(
    start: Start, stray: str
) -> None:
    agent = start()
    await agent.cycle.sync()
    foreign = agent.target / "new.py" / stray
    foreign.parent.mkdir(parents=True)
    foreign.mkdir() if stray.endswith("/") else foreign.write_text("mine")
    agent.source.set(TWO | {"new.py": b"V = 2\n"})
    for _ in range(2):
        await agent.cycle.sync()
        assert files(agent).items() >= TWO.items()
        assert not (agent.target / ".dags-agent/journal.json").exists()
        assert agent.metric("skipped_objects", reason="key_conflict") == 1
        assert foreign.exists()
    shutil.rmtree(agent.target / "new.py")
    await agent.cycle.sync()
    assert (agent.target / "new.py").read_bytes() == b"V = 2\n"
    assert agent.metric("skipped_objects", reason="key_conflict") == 0


async def test_a_foreign_file_in_a_directory_that_becomes_a_file_keeps_the_directory(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    (agent.target / "old/notes.txt").write_text("mine")
    agent.source.set({"a.py": b"V = 2\n", "lib/b.py": b"V = 2\n", "old": b"V = 2\n"})
    await agent.cycle.sync()
    assert files(agent) == {"a.py": b"V = 2\n", "lib/b.py": b"V = 2\n", "old/notes.txt": b"mine"}
    assert not (agent.target / ".dags-agent/journal.json").exists()


async def test_deletions_are_guarded_as_in_releases(start: Start) -> None:
    agent = start(max_delete_fraction=0.3)
    await agent.cycle.sync()
    for few in ({}, {"a.py": b"V = 1\n"}):
        agent.source.set(few)
        with pytest.raises(Refused):
            await agent.cycle.sync()
    assert files(agent) == ONE


async def test_airflow_is_told_not_to_look_at_what_is_staged(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    assert "building" in (agent.target / ".dags-agent/.airflowignore").read_text().split()


async def test_a_target_of_releases_is_not_published_into(start: Start, tmp_path: Path) -> None:
    await start(publish="release").cycle.sync()
    with pytest.raises(ConfigError, match="target of PUBLISH=release"):
        await start().cycle.sync()


async def test_there_is_no_way_back_but_in_s3_and_it_says_so(start: Start) -> None:
    agent = start()
    with pytest.raises(Permanent, match="Go back in S3"):
        commands.rollback(agent.settings, agent.runtime, Namespace(release_id=None))
