"""One bad file keeps no other from being shipped, and is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from log_forwarder.inputs.tailed import TailedFile

from .tailing import Tail, append

Pread = Callable[[int, int, int], bytes]


def test_a_file_that_cannot_be_opened_is_told_once_and_read_when_it_can(
    tail: Tail, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: TailedFile) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    append(log, "one\n")
    with monkeypatch.context() as patched:
        patched.setattr("log_forwarder.inputs.files.open_same", refuse)
        patched.setattr("log_forwarder.inputs.open_files.open_same", refuse)  # root may open anything
        assert [tail.look(), tail.look(), tail.look()] == [[], [], []]

    assert tail.refused == [(str(log), "Permission denied")]
    assert tail.look() == [b"one"]


@pytest.fixture
def bad_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Inodes whose content cannot be read, as on a broken volume or a stale NFS handle."""
    inodes: set[int] = set()

    def pread(descriptor: int, size: int, offset: int, real: Pread = os.pread) -> bytes:
        if os.fstat(descriptor).st_ino in inodes:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    with monkeypatch.context() as patched:
        patched.setattr("log_forwarder.inputs.tailed.os.pread", pread)
        yield inodes


def test_a_file_that_cannot_be_read_keeps_no_other_from_being_shipped_and_is_tried_again(
    tail: Tail, log: Path, bad_disk: set[int]
) -> None:
    good = log.with_name("good.log")
    append(log, "bad\n")
    bad_disk.add(log.stat().st_ino)
    append(good, "one\n")

    assert tail.look() == [b"one"]
    append(good, "two\n")
    assert [tail.look(), tail.look()] == [[b"two"], []]
    assert tail.refused == [(str(log), "Input/output error")]
    assert tail.input.lag_bytes() == len("bad\n")

    bad_disk.clear()
    assert tail.look() == [b"bad"]


def test_a_file_that_fails_after_it_was_removed_is_given_up_and_its_bytes_are_told(
    tail: Tail, log: Path, bad_disk: set[int]
) -> None:
    append(log, "one\n")
    tail.finder.scan()
    bad_disk.add(log.stat().st_ino)
    log.unlink()

    assert tail.look() == []
    tail.look()
    assert tail.over == [(str(log), 4, False)]
    assert len(tail.files) == 0
