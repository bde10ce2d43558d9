"""Passes on a real directory, with a source in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dags_agent.errors import Fenced, Reason, Refused, StandsBy
from dags_agent.layout import Layout
from dags_agent.manifest import Manifest
from dags_agent.state import lift_hold, place_hold
from sidecar.errors import ConfigError, Transient
from sidecar.testing.fake_clock import FakeClock

from .fakes import PREFIX, Agent, FakeSource, an_agent, another_writer, unwell

ONE = {"a.py": b"V = 1\n", "lib/b.py": b"V = 1\n", "c.sql": b"select 1"}
TWO = ONE | {"a.py": b"V = 2\n"}

Start = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an agent on this test's directory; called again, it is the same agent after a restart."""
    source, clock = FakeSource(), FakeClock()
    source.set(ONE)
    with ExitStack() as stack:

        def start(**settings: Any) -> Agent:
            return stack.enter_context(an_agent(tmp_path / "efs", source, clock=clock, **settings))

        yield start


def footprint(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, change time and modification time of everything: any write shows."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_ctime_ns, status.st_mtime_ns)
    return found


async def test_readers_find_the_objects_and_the_manifest_beside(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    assert agent.files() == ONE
    assert (agent.target / "current").readlink() == Path("releases") / agent.live()
    manifest = Manifest.from_json((agent.target / "releases" / f"{agent.live()}.json").read_bytes())
    assert {file.path: file.size_bytes for file in manifest.files} == {p: len(c) for p, c in ONE.items()}
    assert agent.metric("releases_published_total") == 1
    assert agent.metric("downloaded_bytes_total") == sum(map(len, ONE.values()))


async def test_an_unchanged_listing_writes_nothing_not_even_after_a_restart(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    before = footprint(agent.target)
    await agent.cycle.sync()
    restarted = start()
    await restarted.cycle.sync()
    assert footprint(agent.target) == before
    assert len(agent.source.opened) == len(ONE)


async def test_only_what_changed_is_downloaded_and_the_rest_is_the_same_file(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    old = agent.target / "releases" / agent.live()
    agent.source.opened.clear()
    agent.source.set(TWO)
    await agent.cycle.sync()
    new = agent.target / "current"
    assert agent.source.opened == [f"{PREFIX}a.py"]
    assert (new / "lib/b.py").samefile(old / "lib/b.py")
    assert agent.files() == TWO
    assert (old / "a.py").read_bytes() == ONE["a.py"]


async def test_a_changed_file_never_has_its_predecessors_modification_second(start: Start) -> None:
    agent = start()
    seconds = []
    for version in (b"V = 1\n", b"V = 2\n", b"V = 3\n"):  # the clock stands still, the size is the same
        agent.source.set(ONE | {"a.py": version})
        await agent.cycle.sync()
        seconds.append(int((agent.target / "current/a.py").stat().st_mtime))
    assert seconds == sorted(set(seconds))


async def test_deletions_propagate(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    agent.source.set({"a.py": ONE["a.py"], "c.sql": ONE["c.sql"]})
    await agent.cycle.sync()
    assert set(agent.files()) == {"a.py", "c.sql"}
    assert not (agent.target / "current/lib").exists()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, Reason.EMPTY_LISTING),
        ({"a.py": b"V = 9\n"}, Reason.TOO_MANY_DELETIONS),
        (ONE | {"../evil.py": b""}, Reason.UNSAFE_KEY),
        (ONE | {"lib": b"file and directory"}, Reason.UNSAFE_KEY),
    ],
)
async def test_a_refused_listing_leaves_the_old_release_served(
    start: Start, files: dict[str, bytes], reason: Reason
) -> None:
    agent = start(unsafe_keys="refuse")
    await agent.cycle.sync()
    before = footprint(agent.target)
    agent.source.set(files)
    with pytest.raises(Refused) as refused:
        await agent.cycle.sync()
    await agent.cycle.tick()  # in the loop it is an answer, not a failure
    assert refused.value.reason is reason
    assert footprint(agent.target) == before
    assert agent.metric("refused_total", reason=reason) == 2
    assert not (agent.target.parent / "evil.py").exists()


async def test_a_refusal_with_nothing_to_serve_is_a_failure(start: Start) -> None:
    agent = start()
    agent.source.set({})
    with pytest.raises(Refused):
        await agent.cycle.tick()


async def test_a_file_that_does_not_compile_is_named_with_its_line_and_downloaded_once(start: Start) -> None:
    agent = start(validate="compile")
    await agent.cycle.sync()
    live = agent.live()
    agent.source.opened.clear()
    agent.source.set(ONE | {"lib/b.py": b"x = 1\n<<<<<<< HEAD\n"})
    for _ in range(2):
        with pytest.raises(Refused, match=r"lib/b\.py does not compile: line 2"):
            await agent.cycle.sync()
    await agent.cycle.tick()  # still ready, and says why S3 is ahead of what is served
    assert "lib/b.py does not compile: line 2" in agent.runtime.health.ready()[1]
    assert agent.live() == live
    assert agent.source.opened == [f"{PREFIX}lib/b.py"]
    assert agent.leftovers() == []
    assert [path.name for path in (agent.target / "releases").iterdir() if path.is_dir()] == [live]

    agent.source.set(ONE | {"lib/b.py": b"x = 2\n"})
    await agent.cycle.sync()
    assert agent.files()["lib/b.py"] == b"x = 2\n"
    assert "compile" not in agent.runtime.health.ready()[1]


@pytest.mark.parametrize("content", [b"\0", b"# coding: nonsense\n", b"(" * 5000, b"\xff = 1\n"])
async def test_no_content_breaks_the_gate_itself(start: Start, content: bytes) -> None:
    agent = start(validate="compile")
    agent.source.set({"a.py": content})
    with pytest.raises(Refused) as refused:
        await agent.cycle.sync()
    assert refused.value.reason is Reason.DOES_NOT_COMPILE


async def test_without_the_gate_a_broken_file_is_published_as_it_is(start: Start) -> None:
    agent = start()
    agent.source.set({"a.py": b"def ("})
    await agent.cycle.sync()
    assert agent.files() == {"a.py": b"def ("}


async def test_an_object_replaced_after_the_listing_voids_it_and_versions_never_mix(start: Start) -> None:
    agent = start(max_concurrency=1)
    replaced = False

    def replace_once(_key: str) -> None:
        nonlocal replaced
        if len(agent.source.opened) == 2 and not replaced:
            replaced = True
            agent.source.set(dict.fromkeys(ONE, b"V = 7\n"))

    agent.source.on_open = replace_once
    await agent.cycle.sync()
    assert set(agent.files().values()) == {b"V = 7\n"}
    assert agent.metric("listings_voided_total") == 1
    assert agent.leftovers() == []


async def test_a_source_that_never_rests_is_left_to_the_next_pass(start: Start) -> None:
    agent = start()
    agent.source.on_open = lambda key: agent.source.objects.update({key: os.urandom(8)})
    with pytest.raises(Transient, match="changed during each of 3 listings"):
        await agent.cycle.sync()
    assert not (agent.target / "current").exists()
    assert agent.leftovers() == []


@pytest.mark.parametrize(
    ("damage", "why"), [(lambda c: c[:-1], "bytes came"), (lambda c: c[::-1], "MD5")], ids=["short", "wrong"]
)
async def test_bytes_that_are_not_the_objects_are_read_again_and_never_published(
    start: Start, damage: Callable[[bytes], bytes], why: str
) -> None:
    agent = start()
    tries: list[str] = []

    def first_is_damaged(key: str, content: bytes) -> bytes:
        tries.append(key)
        return damage(content) if tries.count(key) == 1 else content

    agent.source.in_transit = first_is_damaged
    await agent.cycle.sync()
    assert agent.files() == ONE

    agent.source.set(TWO)
    agent.source.in_transit = lambda _key, content: damage(content)
    with pytest.raises(Transient, match=why):
        await agent.cycle.sync()
    assert agent.files() == ONE
    assert agent.leftovers() == []


async def test_an_outage_in_the_middle_leaves_the_old_release_and_nothing_else(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    agent.source.set(TWO)
    agent.source.on_open = unwell
    with pytest.raises(Transient):
        await agent.cycle.sync()
    assert agent.files() == ONE
    assert agent.leftovers() == []


async def test_a_full_disk_is_a_failure_that_frees_its_space(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    agent.source.set(TWO)

    def full(_key: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    agent.source.on_open = full
    with pytest.raises(Transient, match="No space left on device"):
        await agent.cycle.sync()
    assert agent.files() == ONE
    assert agent.leftovers() == []


@pytest.fixture
def no_foreign_byte_code_can_be_deleted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Answer as the kernel does to who does not own a directory; return what ends this."""
    unlink, rmdir = os.unlink, os.rmdir

    def refuse_unlink(path: Any, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None and Path(f"/proc/self/fd/{dir_fd}").readlink().name == "__pycache__":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, dir_fd=dir_fd)

    def refuse_rmdir(path: Any, *, dir_fd: int | None = None) -> None:
        if str(path) == "__pycache__":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        rmdir(path, dir_fd=dir_fd)

    def end() -> None:
        monkeypatch.setattr(os, "unlink", unlink)
        monkeypatch.setattr(os, "rmdir", rmdir)

    monkeypatch.setattr(os, "unlink", refuse_unlink)
    monkeypatch.setattr(os, "rmdir", refuse_rmdir)
    return end


async def test_garbage_that_cannot_be_deleted_stops_no_deploy_and_is_told(
    start: Start, no_foreign_byte_code_can_be_deleted: Callable[[], None]
) -> None:
    agent = start(keep_releases=1, keep_hours=0)
    await agent.cycle.sync()
    byte_code = agent.target / "current/lib/__pycache__/b.cpython-311.pyc"
    byte_code.parent.mkdir()
    byte_code.write_bytes(b"left by a reader")
    for count, version in enumerate((b"V = 2\n", b"V = 3\n", b"V = 4\n"), start=1):
        agent.source.set(ONE | {"a.py": version})
        await agent.cycle.sync()
        assert agent.files()["a.py"] == version
        assert agent.metric("removals_failed_total") == count
        assert len(agent.leftovers()) == 1
    assert [path.name for path in (agent.target / "releases").glob("*/")] == [agent.live()]
    assert agent.metric("leftovers_removed_total") == 0

    no_foreign_byte_code_can_be_deleted()
    restarted = start(keep_releases=1, keep_hours=0)
    await restarted.cycle.sync()
    assert restarted.leftovers() == []
    assert restarted.metric("leftovers_removed_total") == 1


async def test_a_release_is_retired_although_garbage_of_its_name_is_stuck(
    start: Start, no_foreign_byte_code_can_be_deleted: Callable[[], None]
) -> None:
    agent = start(keep_releases=1, keep_hours=0)
    await agent.cycle.sync()
    first = agent.live()
    stuck = agent.target / ".dags-agent/trash" / first
    (stuck / "__pycache__").mkdir(parents=True)
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert agent.files() == TWO
    assert not (agent.target / "releases" / first).exists()
    assert agent.leftovers() == [str(stuck.relative_to(agent.target))]


async def test_garbage_is_deleted_when_the_disk_is_full_although_its_turn_is_last(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    garbage = agent.target / ".dags-agent/trash/20200101T000000Z-00000000/large.bin"
    garbage.parent.mkdir()
    garbage.write_bytes(b"x")

    def full(_key: str) -> None:
        if garbage.exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    agent.source.set(TWO)
    agent.source.on_open = full
    with pytest.raises(Transient, match="No space left on device"):
        await agent.cycle.sync()
    await agent.cycle.sync()
    assert agent.files() == TWO
    assert agent.leftovers() == []


async def test_damage_to_the_live_release_is_found_at_start_and_repaired(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    live = agent.target / "releases" / agent.live()
    (live / "a.py").write_bytes(b"")
    (live / "c.sql").unlink()
    (live / "lib/__pycache__").mkdir()
    (live / "lib/__pycache__/b.cpython-311.pyc").write_bytes(b"left by a reader")
    restarted = start()
    await restarted.cycle.sync()
    assert restarted.files() == ONE
    assert restarted.metric("damaged_files") == 2
    assert restarted.source.opened[len(ONE) :] == [f"{PREFIX}a.py", f"{PREFIX}c.sql"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["lost", "emptied"])
async def test_a_newer_release_is_not_followed_again_when_it_was_damaged_meanwhile(
    start: Start, damage: Callable[[Path], object]
) -> None:
    agent = start()
    await agent.cycle.sync()
    first = agent.live()
    agent.source.set(TWO)
    await agent.cycle.sync()
    second = agent.live()
    Layout(agent.target).point_current_at(first)  # as `rollback` does, until `resume`
    damage(agent.target / "releases" / second / "a.py")
    restarted = start()
    await restarted.cycle.sync()
    assert restarted.files() == TWO
    assert restarted.live() not in (first, second)


async def test_a_newer_release_that_is_whole_is_followed_again_without_a_download(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    first = agent.live()
    agent.source.set(TWO)
    await agent.cycle.sync()
    second = agent.live()
    Layout(agent.target).point_current_at(first)
    agent.source.opened.clear()
    restarted = start()
    await restarted.cycle.sync()
    assert restarted.live() == second
    assert restarted.source.opened == []


async def test_a_lost_manifest_costs_a_download_and_no_guard(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    (agent.target / "releases" / f"{agent.live()}.json").write_bytes(b"{ torn")
    restarted = start()
    restarted.source.set({"a.py": b"V = 1\n"})
    with pytest.raises(Refused, match="lacks 2 of 3"):
        await restarted.cycle.sync()
    restarted.source.set(ONE)
    await restarted.cycle.sync()
    assert restarted.files() == ONE


async def test_an_unchanged_file_swapped_for_a_symlink_is_fetched_not_followed(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    secret = agent.target.parent / "secret"
    secret.write_bytes(ONE["c.sql"])
    (agent.target / "current/c.sql").unlink()
    (agent.target / "current/c.sql").symlink_to(secret)
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert agent.files() == TWO
    assert not (agent.target / "current/c.sql").is_symlink()


async def test_a_file_with_as_many_links_as_efs_allows_is_copied(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_three_times(old: str, new: str, *, follow_symlinks: bool) -> None:
        if Path(old).stat().st_nlink == 3:
            raise OSError(errno.EMLINK, "Too many links")
        link(old, new, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", link_three_times)
    agent = start(keep_releases=9)
    for version in range(5):
        agent.source.set(ONE | {"a.py": f"V = {version}\n".encode()})
        await agent.cycle.sync()
    links = {path.stat().st_nlink for path in (agent.target / "releases").glob("*/c.sql")}
    times = {path.stat().st_mtime for path in (agent.target / "releases").glob("*/c.sql")}
    assert links == {3, 2}
    assert len(times) == 1
    assert agent.files()["c.sql"] == ONE["c.sql"]


async def test_a_current_that_somebody_removed_does_not_take_the_guard_away(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    (agent.target / "current").unlink()
    agent.source.set({})
    with pytest.raises(Refused, match="lists no file"):
        await start().cycle.sync()
    agent.source.set(dict(list(ONE.items())[:1]))
    with pytest.raises(Refused, match="The source lacks"):
        await start().cycle.sync()
    agent.source.set(ONE)
    await start().cycle.sync()
    assert agent.files() == ONE


async def test_old_releases_are_retired_the_live_and_the_young_stay(start: Start) -> None:
    agent = start(keep_releases=2, keep_hours=1)
    for version in range(5):
        agent.source.set(ONE | {"a.py": f"V = {version}\n".encode()})
        await agent.cycle.sync()
    assert len(list((agent.target / "releases").glob("*/"))) == 5
    agent.clock.advance(3601)
    agent.source.set(TWO)
    await agent.cycle.sync()
    kept = sorted(path.name for path in (agent.target / "releases").glob("*/"))
    assert len(kept) == 2
    assert kept[-1] == agent.live()
    assert agent.leftovers() == []


async def test_a_hold_keeps_the_release_until_it_is_lifted(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    place_hold(Layout(agent.target), agent.live(), since=agent.clock.now())
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert agent.files() == ONE
    assert agent.metric("held") == 1
    lift_hold(Layout(agent.target))
    await agent.cycle.sync()
    assert agent.files() == TWO
    assert agent.metric("held") == 0


async def test_a_hold_file_that_cannot_be_read_still_holds(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    (agent.target / ".dags-agent/hold.json").write_bytes(b"stay!")
    agent.source.set(TWO)
    await agent.cycle.sync()
    assert agent.files() == ONE


async def test_a_writer_whose_world_moved_on_is_fenced_off(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    first = agent.live()
    agent.source.set(TWO)
    await agent.cycle.sync()
    second = agent.live()

    def another_agent_moves_current(_key: str) -> None:
        Layout(agent.target).point_current_at(first)

    agent.source.on_open = another_agent_moves_current
    agent.source.set(ONE | {"a.py": b"V = 3\n"})
    with pytest.raises(Fenced, match=f"moved from {second} to {first}"):
        await agent.cycle.sync()
    assert agent.live() == first
    assert sorted(path.name for path in (agent.target / "releases").glob("*/")) == sorted([first, second])
    assert agent.leftovers() == []


async def test_a_hold_placed_while_building_is_obeyed(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    live = agent.live()
    agent.source.set(TWO)
    agent.source.on_open = lambda _key: place_hold(Layout(agent.target), live, since=agent.clock.now())
    with pytest.raises(Fenced, match="hold"):
        await agent.cycle.sync()
    assert agent.files() == ONE


async def test_two_agents_do_not_publish_at_once(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    agent.source.set(TWO)
    with another_writer(agent.target, agent.clock), pytest.raises(StandsBy, match="Another dags-agent"):
        await agent.cycle.sync()
    await agent.cycle.sync()
    assert agent.files() == TWO


async def test_a_current_that_is_not_ours_is_explained_and_left_alone(start: Start) -> None:
    agent = start()
    (agent.target / "current").mkdir(parents=True)
    with pytest.raises(ConfigError, match="no symlink"):
        await agent.cycle.sync()
    (agent.target / "current").rmdir()
    (agent.target / "current").symlink_to("/etc")
    with pytest.raises(ConfigError, match="points to '/etc'"):
        await agent.cycle.sync()
    assert (agent.target / "current").readlink() == Path("/etc")


async def test_a_target_whose_parent_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    source = FakeSource()
    source.set(ONE)
    with (
        an_agent(tmp_path / "not/mounted", source) as agent,
        pytest.raises(ConfigError, match="volume is mounted"),
    ):
        await agent.cycle.sync()


async def test_a_dry_run_touches_nothing(start: Start) -> None:
    agent = start(dry_run=True)
    await agent.cycle.sync()
    assert not agent.target.exists()
    assert agent.source.opened == []


async def test_a_large_file_is_written_in_pieces_and_whole(start: Start) -> None:
    agent = start()
    content = os.urandom(3 * (1 << 20) + 7)
    agent.source.set({"big.bin": content, "empty.txt": b""})
    await agent.cycle.sync()
    assert agent.files() == {"big.bin": content, "empty.txt": b""}
