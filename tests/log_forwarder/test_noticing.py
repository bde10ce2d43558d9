"""New lines are noticed at once where the kernel tells of them, and never missed where it does not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from log_forwarder.inputs import inotify
from log_forwarder.inputs.mounts import is_remote
from log_forwarder.inputs.watches import Watches
from sidecar.testing.waiting import wait_until

from .tailing import Tail, append


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Tail]:
    """Eyes that scanned once and only hear of events since: the clock stands still."""
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path, may_watch=True)
    tail.look()
    assert "watching" in tail.told
    yield tail
    tail.stop()


@pytest.fixture
def task(watching: Tail) -> Path:
    return watching.root / "logs" / "dag_id=d" / "run_id=r" / "task_id=t" / "attempt=1.log"


def test_a_new_file_and_its_growth_are_noticed_without_a_scan(watching: Tail, task: Path) -> None:
    append(task, "one\n")
    assert watching.read() == [b"one"]
    append(task, "two\n")

    assert watching.read() == [b"two"]


def test_a_file_that_is_written_and_removed_at_once_is_read_when_it_could_be_opened(
    watching: Tail, task: Path
) -> None:
    append(task, "one\n")
    watching.input.look()
    append(task, "two\n")
    shutil.rmtree(watching.root / "logs" / "dag_id=d")

    assert watching.read() == [b"one", b"two"]


def test_a_directory_that_was_filled_before_it_was_watched_is_listed(watching: Tail) -> None:
    made = watching.root / "made"
    append(made / "deep" / "a.log", "one\n")
    made.rename(watching.root / "logs" / "moved")

    assert watching.read() == [b"one"]
    append(watching.root / "logs" / "moved" / "deep" / "b.log", "two\n")
    assert watching.read() == [b"two"]


def test_a_renamed_directory_is_followed_under_its_new_name(watching: Tail, task: Path) -> None:
    append(task, "one\n")
    watching.read()
    (watching.root / "logs" / "dag_id=d").rename(watching.root / "logs" / "dag_id=e")
    watching.read()
    append(watching.root / "logs" / "dag_id=e" / "run_id=r" / "task_id=t" / "attempt=2.log", "two\n")

    assert watching.read() == [b"two"]


def test_when_the_queue_of_events_runs_over_everything_is_scanned(
    watching: Tail, task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(task, "one\n")
    overflow = [inotify.Event(-1, inotify.Q_OVERFLOW, 0, "")]
    with monkeypatch.context() as patched:
        patched.setattr(inotify.Inotify, "events", lambda _self: iter(overflow))
        assert watching.read() == [b"one"]

    assert "events lost" in watching.told


def test_a_real_storm_of_events_loses_no_file(watching: Tail) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    directory = watching.root / "logs" / "storm"
    directory.mkdir()
    watching.read()
    for number in range(most // 3 + 200):  # made, written, closed: three events each
        (directory / f"{number}.log").write_bytes(b"x\n")

    seen = len(watching.read())
    while (more := len(watching.read())) > 0:
        seen += more

    assert seen == most // 3 + 200


def test_without_watches_files_are_found_by_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: inotify.Inotify, directory: str) -> int:
        raise inotify.NoMoreWatches(28, "no more inotify watches for this user", directory)

    monkeypatch.setattr(inotify.Inotify, "watch", refuse)
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path, may_watch=True)
    tail.look()
    append(tmp_path / "logs" / "a.log", "one\n")
    assert tail.told.count("watching ended") == 1
    tail.clock.advance(1.1)

    assert tail.read() == [b"one"]
    tail.stop()


def test_without_inotify_files_are_found_by_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: inotify.Inotify) -> None:
        raise OSError(24, "too many instances")

    monkeypatch.setattr(inotify.Inotify, "__init__", refuse)
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path, may_watch=True)
    append(tmp_path / "logs" / "a.log", "one\n")
    tail.clock.advance(1.1)

    assert tail.read() == [b"one"]
    assert "watching ended" in tail.told
    tail.stop()


def test_a_root_that_comes_later_or_comes_back_is_found(watching: Tail) -> None:
    logs = watching.root / "logs"
    shutil.rmtree(logs)
    watching.clock.advance(1.1)
    watching.read()
    watching.clock.advance(1.1)
    watching.read()
    append(logs / "a.log", "one\n")
    watching.clock.advance(1.1)

    assert watching.read() == [b"one"]
    append(logs / "a.log", "two\n")
    assert watching.read() == [b"two"]


def test_a_path_that_is_not_utf_8_is_followed(watching: Tail) -> None:
    path = os.fsencode(watching.root / "logs") + b"/caf\xe9.log"
    with open(path, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b"one\xff\n")

    wait_until(lambda: watching.read() == [b"one\xff"], "the line")


@pytest.mark.parametrize(
    ("kind", "is_blind"), [("ext4", False), ("overlay", False), ("nfs4", True), ("fuse.s3fs", True)]
)
def test_a_file_system_that_others_write_to_is_scanned(kind: str, is_blind: bool) -> None:
    mounts = f"""\
21 1 0:20 / / rw - ext4 /dev/root rw
22 21 0:21 / /mnt/logs\\040here rw,noatime shared:1 - {kind} server:/ rw
23 21 0:22 / /mnt/logs rw - nfs4 server:/ rw
"""
    assert is_remote("/mnt/logs here/dag_id=d", mounts) == is_blind
    assert not is_remote("/mnt/logshere", mounts)


def test_watched_directories_are_named_by_their_parents() -> None:
    watches = Watches()
    watches.put(1, "/logs", parent=None)
    watches.put(2, "/logs/a", parent=1)
    watches.put(7, "/logs/a/b", parent=2)
    assert (watches.path(7), watches.path(3), len(watches)) == ("/logs/a/b", None, 3)

    watches.put(2, "/logs/renamed", parent=1)
    assert watches.path(7) == "/logs/renamed/b"

    watches.drop(2)
    assert (watches.path(7), len(watches)) == (None, 2)
