"""What is known of a file over a restart, and that it is not mistaken for another one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from log_forwarder.state import State
from sidecar.errors import ConfigError

from .tailing import Tail, append


def test_a_restart_goes_on_at_the_accepted_offset(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    tail.stop()
    append(log, "two\n")
    again = Tail(tail.root)

    assert again.look() == [b"two"]
    assert again.replaced == []
    again.stop()


def test_a_file_replaced_while_nobody_looked_is_read_from_its_start(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    tail.stop()
    log.write_text("two\n")
    again = Tail(tail.root)

    assert again.look() + again.read() == [b"two"]
    again.stop()


def test_a_file_that_grew_slowly_and_was_replaced_is_told_by_any_of_its_first_1024_bytes(
    tail: Tail, log: Path
) -> None:
    lines = [f"{number:>60}\n" for number in range(30)]
    for line in lines:
        append(log, line)
        tail.look()
    tail.stop()
    lines[16] = lines[16].replace(" ", "x", 1)  # byte 976 of 1,830
    log.write_text("".join(lines))
    again = Tail(tail.root)

    assert len(again.look() + again.read()) == len(lines)
    assert again.replaced == [str(log)]
    again.stop()


def test_a_file_replaced_by_one_with_the_same_beginning_is_told_by_the_64_bytes_before_the_offset(
    tail: Tail, log: Path
) -> None:
    lines = [f"{number:>60}\n" for number in range(30)]
    append(log, "".join(lines))
    tail.look()
    append(log, "\n")
    tail.look()
    tail.stop()
    lines[29] = lines[29].replace(" ", "x", 1)  # 62 bytes before the offset
    log.write_text("".join([*lines, "\n", "new\n"]))
    again = Tail(tail.root)

    assert len(again.look() + again.read()) == len(lines) + 2
    assert again.replaced == [str(log)]
    again.stop()


def test_a_file_that_grew_line_by_line_goes_on_after_a_restart(tail: Tail, log: Path) -> None:
    for number in range(30):
        append(log, f"{number:>60}\n")
        tail.look()
    tail.stop()
    append(log, "new\n")
    again = Tail(tail.root)

    assert again.look() == [b"new"]
    assert again.replaced == []
    again.stop()


def days_pass(tail: Tail, days: int) -> None:
    """Stop, and make everything that is known look this old."""
    tail.stop()
    with closing(sqlite3.connect(tail.root / "state" / "checkpoints.sqlite3")) as state, state:
        state.execute("UPDATE files SET committed_at = datetime('now', ?)", (f"-{days} days",))


@pytest.mark.parametrize("days", [8, 100])
def test_a_renamed_file_is_not_shipped_again_after_a_long_pause(tail: Tail, log: Path, days: int) -> None:
    append(log, "one\n")
    tail.look()
    log.rename(log.with_name("a.log.1"))
    days_pass(tail, days)

    for _ in range(2):  # what the first start drops, the second one ships
        again = Tail(tail.root)
        assert again.look() == []
        again.stop()


def test_a_volume_that_is_not_mounted_at_one_start_is_not_shipped_again_at_the_next(
    tail: Tail, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, "one\n")
    tail.look()
    days_pass(tail, 8)
    mounted, away = log.parent, tail.root / "away"
    mounted.rename(away)
    mounted.mkdir()  # the mount point, on another device than the volume
    device = away.stat().st_dev

    def stat(path: Path, real: Callable[[Path], os.stat_result] = Path.stat) -> os.stat_result:
        status = real(path)
        if path != mounted:
            return status
        return os.stat_result((status.st_mode, status.st_ino, device + 1, *status[3:]))

    with monkeypatch.context() as patched:
        patched.setattr("log_forwarder.checkpoints.Path.stat", stat)
        without = Tail(tail.root)
        assert without.look() == []
        without.stop()
    mounted.rmdir()
    away.rename(mounted)
    again = Tail(tail.root)

    assert again.look() == []
    again.stop()


@pytest.mark.parametrize(("days", "is_remembered"), [(6, True), (8, False)])
def test_a_removed_file_is_forgotten_after_a_week_also_when_its_directory_is_gone(
    tail: Tail, days: int, is_remembered: bool
) -> None:
    log = tail.root / "logs" / "run_id=1" / "a.log"
    log.parent.mkdir()
    append(log, "one\n")
    tail.look()
    inode = log.stat().st_ino
    days_pass(tail, days)
    log.unlink()
    log.parent.rmdir()
    again = Tail(tail.root)
    again.look()

    assert bool(again.checkpoints.find(inode)) == is_remembered
    again.stop()


def test_the_same_file_has_the_same_source_after_a_restart_and_another_after_truncation(
    tail: Tail, log: Path
) -> None:
    def source(of: Tail) -> str:
        (file,) = of.known()
        assert file.known is not None
        return file.known.source

    append(log, "one\n")
    tail.look()
    first = source(tail)
    tail.stop()
    again = Tail(tail.root)
    again.look()
    assert source(again) == first
    log.write_text("x\n")
    again.look()

    assert source(again) != first
    again.stop()


def test_a_second_user_of_a_state_directory_is_refused(tail: Tail) -> None:
    with pytest.raises(ConfigError, match="another log-forwarder holds it"):
        State(tail.root / "state")


def test_a_damaged_state_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.sqlite3").write_bytes(b"not a database" * 100)

    with pytest.raises(ConfigError, match="Cannot use the offsets"):
        State(tmp_path)
