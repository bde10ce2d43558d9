"""Noticing and opening have a thread of their own: whatever the reader waits for, no file is missed."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from log_forwarder.checkpoints import Checkpoints, Known, Newcomer
from log_forwarder.inputs.discovery import Globs
from log_forwarder.inputs.finder import Finder
from log_forwarder.inputs.scout import Inbox, Scout
from sidecar.clock import SystemClock
from sidecar.testing.waiting import wait_until

from .tailing import Tail


class Scouted:
    """A tail whose noticing is in a thread of its own."""

    def __init__(self, root: Path, *, limit: int = 10_000) -> None:
        (root / "logs").mkdir()
        self.root = root
        self.tail = Tail(root, open_files_max=limit)
        clock = SystemClock()

        def finder(inbox: Inbox) -> Finder:
            return Finder(
                globs=Globs([f"{root}/logs/**"], excluded=root / "state"),
                open_files=self.tail.open_files,
                follower=inbox,
                listener=inbox,
                monotonic=clock.monotonic,
                now_ns=lambda: 2**62,
                scan_seconds=1.0,
                may_watch=True,
            )

        inbox = Inbox(self.tail.files, self.tail, self.tail.open_files)
        self.scout = Scout(finder, inbox, on_news=lambda: None)
        self.tail.input._finder = self.scout

    def task(self, number: int) -> Path:
        return self.root / "logs" / f"dag_id=d/run_id=r{number}/task_id=t/attempt=1.log"

    def live_and_die(self, number: int) -> None:
        """Be written, noticed, and removed with the directory, as Airflow does after its upload."""
        log = self.task(number)
        log.parent.mkdir(parents=True)
        log.write_bytes(b"%d\n" % number)
        status = log.stat()
        wait_until(
            lambda: self.tail.open_files.holds(status.st_dev, status.st_ino), f"task {number} to be open"
        )
        shutil.rmtree(log.parent.parent)


@pytest.fixture
def scouted(tmp_path: Path) -> Iterator[Scouted]:
    made = Scouted(tmp_path)
    made.scout.look()
    yield made
    made.tail.stop()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A state whose every use waits until this is set."""
    free = threading.Event()
    find, register = Checkpoints.find, Checkpoints.register

    def slow_find(self: Checkpoints, inode: int) -> list[Known]:
        assert free.wait(60)
        return find(self, inode)

    def slow_register(self: Checkpoints, newcomers: Sequence[Newcomer]) -> list[Known]:
        assert free.wait(60)
        return register(self, newcomers)

    monkeypatch.setattr(Checkpoints, "find", slow_find)
    monkeypatch.setattr(Checkpoints, "register", slow_register)
    yield free
    free.set()


def test_files_that_come_and_go_while_the_state_is_stuck_are_all_read(
    scouted: Scouted, stuck: threading.Event
) -> None:
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.extend(scouted.tail.read()))
    scouted.live_and_die(0)
    reader.start()  # it is stuck at the first file
    for number in range(1, 300):
        scouted.live_and_die(number)
    assert read == []
    stuck.set()
    reader.join(60)

    def is_all_there() -> bool:
        read.extend(scouted.tail.read())
        return len(read) >= 300

    wait_until(is_all_there, "every line")
    assert sorted(map(int, read)) == list(range(300))
    assert scouted.tail.missing == []


def test_the_files_of_a_burst_are_entered_in_few_commits(
    scouted: Scouted, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    register = Checkpoints.register

    def counted(self: Checkpoints, newcomers: Sequence[Newcomer]) -> list[Known]:
        commits.append(len(newcomers))
        return register(self, newcomers)

    monkeypatch.setattr(Checkpoints, "register", counted)
    for number in range(100):
        scouted.live_and_die(number)

    assert len(scouted.tail.read()) == 100
    assert commits == [100]


def test_a_descriptor_that_nobody_adopts_is_closed(scouted: Scouted) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of names alone
    for number in range(50):
        scouted.live_and_die(number)
    scouted.scout.close()

    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, "the descriptors to be closed")  # noqa: PTH208 - the same


def test_what_was_gone_before_it_could_be_opened_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path, may_watch=True)
    tail.look()
    logs = tmp_path / "logs"
    (logs / "gone.log").write_text("lost\n")
    (logs / "gone.log").unlink()
    (logs / "gone.log").write_text("kept\n")
    (logs / "renamed.tmp").write_text("renamed\n")
    (logs / "renamed.tmp").rename(logs / "renamed.log")
    (logs / "directory").mkdir()
    (logs / "directory").rmdir()

    assert sorted(tail.read()) == [b"kept", b"renamed"]
    assert tail.missing == [str(logs / "gone.log"), str(logs / "directory")]
    tail.stop()


def test_a_file_that_was_found_in_a_list_is_not_told_as_missed_when_its_events_come_late(
    tmp_path: Path,
) -> None:
    (tmp_path / "logs").mkdir()
    tail = Tail(tmp_path, may_watch=True)
    (tmp_path / "logs" / "a.log").write_text("one\n")  # its event waits while the scan lists and opens it
    tail.finder.scan()
    (tmp_path / "logs" / "a.log").unlink()

    assert tail.read() == [b"one"]
    assert tail.missing == []
    tail.stop()
