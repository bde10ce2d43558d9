"""The cache before Parameter Store: who is asked, how often, and what stands in when nobody answers."""

from __future__ import annotations

import random
import stat
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_ecs.parameter_cache.cache import ParameterCache
from airflow_ecs.parameter_cache.entry import Entry, parse
from airflow_ecs.parameter_cache.errors import (
    ParameterDenied,
    ParameterError,
    ParameterSettingsError,
    ParameterThrottled,
    ParameterUnreachable,
)
from airflow_ecs.parameter_cache.levels import MemoryLevel, ProcessLevel
from airflow_ecs.parameter_cache.settings import CacheSettings, read


class Source:
    """Parameter Store as the test wants it."""

    def __init__(self) -> None:
        self.values = {"/a": "1"}
        self.asked: list[Sequence[str]] = []
        self.error: ParameterError | None = None
        self.gate = threading.Event()
        self.gate.set()

    def ask(self, names: Sequence[str]) -> dict[str, str]:
        self.asked.append(list(names))
        self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return {name: self.values[name] for name in names if name in self.values}


class World:
    """A source, a clock, and caches on them as processes of one container or another would have."""

    def __init__(self, directory: Path) -> None:
        self.source = Source()
        self.now = 1_000_000.0
        self.memory = MemoryLevel(directory)
        self.distant = ProcessLevel()

    def process(self, *, memory: MemoryLevel | None = None, seed: int = 0) -> ParameterCache:
        return ParameterCache(
            CacheSettings(ttl_seconds=300, negative_ttl_seconds=60, stale_if_error_seconds=3_600),
            self.source,
            memory=memory or self.memory,
            distant=self.distant,
            now=lambda: self.now,
            rng=random.Random(seed),  # noqa: S311  # jitter
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_value_is_asked_for_once_in_a_process_a_container_and_a_fleet(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    first = world.process()
    assert first.get("/a") == first.get("/a") == "1"
    assert world.process().get("/a") == "1"
    assert world.process(memory=MemoryLevel(tmp_path / "elsewhere")).get("/a") == "1"
    assert world.source.asked == [["/a"]]


def test_after_its_time_it_is_asked_for_again(world: World) -> None:
    cache = world.process()
    cache.get("/a")
    world.source.values["/a"] = "2"
    world.now += 239
    assert cache.get("/a") == "1"
    world.now += 61
    assert cache.get("/a") == "2"


def test_processes_that_start_together_do_not_ask_again_together(tmp_path: Path) -> None:
    ends = set()
    for seed in range(20):
        (tmp_path / str(seed)).mkdir()
        world = World(tmp_path / str(seed))
        world.process(seed=seed).get("/a")
        entry = world.distant.read("/a")
        assert entry is not None
        ends.add(round(entry.fresh_until))
    assert len(ends) > 10
    assert min(ends) >= 1_000_000 + 240
    assert max(ends) <= 1_000_000 + 300


def test_what_is_not_there_is_remembered_for_a_shorter_time(world: World) -> None:
    cache = world.process()
    assert cache.get("/none") is None
    assert world.process().get("/none") is None
    assert len(world.source.asked) == 1
    world.source.values["/none"] = "now it is"
    world.now += 61
    assert cache.get("/none") == "now it is"


def test_threads_that_want_the_same_at_once_ask_once(world: World) -> None:
    cache = world.process()
    world.source.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(cache.get, "/a") for _ in range(8)]
        world.source.gate.set()
        assert {each.result(30) for each in waiting} == {"1"}
    assert world.source.asked == [["/a"]]


def test_processes_that_want_the_same_at_once_ask_once(world: World) -> None:
    world.source.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(world.process().get, "/a") for _ in range(4)]
        world.source.gate.set()
        assert {each.result(30) for each in waiting} == {"1"}
    assert world.source.asked == [["/a"]]


@pytest.mark.parametrize("outage", [ParameterThrottled("busy"), ParameterUnreachable("gone")])
def test_while_nobody_answers_the_last_value_stands_in_and_the_outage_is_told(
    world: World, outage: ParameterError, caplog: pytest.LogCaptureFixture
) -> None:
    world.process().get("/a")
    world.now += 600
    world.source.error = outage
    fresh_process = world.process()
    assert fresh_process.get("/a") == fresh_process.get("/a") == "1"
    assert len(world.source.asked) == 2, "an outage is not asked at again at once"
    assert str(outage) in caplog.text
    world.source.error = None
    world.source.values["/a"] = "2"
    world.now += 31
    assert fresh_process.get("/a") == "2"


def test_a_value_that_is_too_old_does_not_stand_in(world: World) -> None:
    cache = world.process()
    cache.get("/a")
    world.now += 3_601
    world.source.error = ParameterThrottled("busy")
    with pytest.raises(ParameterThrottled):
        cache.get("/a")


def test_a_refusal_is_an_answer_and_nothing_stands_in_for_it(world: World) -> None:
    cache = world.process()
    cache.get("/a")
    world.now += 600
    world.source.error = ParameterDenied("no")
    with pytest.raises(ParameterDenied):
        cache.get("/a")


def test_what_was_not_there_does_not_stand_in(world: World) -> None:
    cache = world.process()
    cache.get("/none")
    world.now += 600
    world.source.error = ParameterThrottled("busy")
    with pytest.raises(ParameterThrottled):
        cache.get("/none")


def test_many_are_asked_for_with_what_is_known_left_out(world: World) -> None:
    world.source.values |= {"/b": "2", "/c": "3"}
    cache = world.process()
    cache.get("/b")
    assert cache.get_many(["/a", "/b", "/c", "/d"]) == {"/a": "1", "/b": "2", "/c": "3"}
    assert world.source.asked == [["/b"], ["/a", "/c", "/d"]]
    world.now += 600
    world.source.error = ParameterUnreachable("gone")
    assert cache.get_many(["/a", "/b"]) == {"/a": "1", "/b": "2"}


def test_an_entry_from_the_future_is_not_fresh() -> None:
    assert not Entry(value="1", fetched_at=5_000, fresh_until=6_000).is_fresh(1_000)


@pytest.mark.parametrize("text", [b"", b"{}", b"[2, null, 0, 0]", b"[1, 5, 0, 0]", b"[1, null]", b"\xff"])
def test_what_is_no_entry_is_asked_for_again(text: bytes) -> None:
    assert parse(text) is None


def test_an_entry_survives_being_written() -> None:
    entry = Entry(value="ç", fetched_at=1.5, fresh_until=2.5)
    assert parse(entry.to_json()) == entry


def test_files_are_readable_for_nobody_else(world: World, tmp_path: Path) -> None:
    world.process().get("/a")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}
    assert not [path for path in tmp_path.iterdir() if "/a" in path.name]


def test_a_directory_on_a_disk_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("proc /proc proc rw 0 0\n/dev/vda1 / ext4 rw 0 0\n")
    assert MemoryLevel.on_tmpfs(tmp_path / "cache", mounts=mounts) is None
    assert "reach a disk" in caplog.text


def test_a_directory_that_others_can_read_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda1 / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n")
    (tmp_path / "open").mkdir(mode=0o755)
    assert MemoryLevel.on_tmpfs(tmp_path / "open", mounts=mounts) is None
    assert "open to others" in caplog.text
    assert MemoryLevel.on_tmpfs(tmp_path / "own", mounts=mounts) is not None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"S3_URL": "bucket/x", "KMS_KEY_ID": "k"}, "s3://bucket/prefix"),
        ({"S3_URL": "s3://bucket/x"}, "KMS_KEY_ID"),
        ({"TTL_SECONDS": "soon"}, "number of seconds"),
        ({"STALE_IF_ERROR_SECONDS": "-1"}, "number of seconds"),
    ],
)
def test_wrong_settings_are_refused_with_the_remedy(given: dict[str, str], says: str) -> None:
    with pytest.raises(ParameterSettingsError, match=says):
        read({f"AIRFLOW_ECS_PARAMETERS_{name}": value for name, value in given.items()})


def test_settings_are_read() -> None:
    found = read(
        {
            "AIRFLOW_ECS_PARAMETERS_S3_URL": "s3://bucket/a/b/",
            "AIRFLOW_ECS_PARAMETERS_KMS_KEY_ID": "k",
            "AIRFLOW_ECS_PARAMETERS_TTL_SECONDS": "5",
            "AIRFLOW_ECS_PARAMETERS_MEMORY_DIRECTORY": "",
        }
    )
    assert (found.bucket, found.prefix, found.ttl_seconds, found.memory_directory) == (
        "bucket",
        "a/b",
        5,
        None,
    )
