"""Files are told apart and read to their end, whatever is done to them meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from log_forwarder.inputs.files import IDLE_FLUSH_SECONDS
from log_forwarder.inputs.followed import HOT_SECONDS, REMOVED_SECONDS

from .tailing import CHUNK_BYTES, Tail, append


def test_growth_is_read_once_and_only_whole_lines(tail: Tail, log: Path) -> None:
    append(log, "one\ntw")
    assert tail.look() == [b"one"]
    append(log, "o\nthree\n")

    assert tail.look() == [b"two", b"three"]
    assert tail.look() == []


def test_a_renamed_file_goes_on_and_its_successor_begins(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    append(log, "two\n")
    log.rename(log.with_name("a.log.1"))
    append(log, "three\n")

    assert sorted(tail.look()) == [b"three", b"two"]
    assert tail.replaced == []


def test_a_truncated_file_begins_again(tail: Tail, log: Path) -> None:
    append(log, "one\ntwo\n")
    tail.look()
    log.write_text("new\n")

    assert tail.look() == [b"new"]
    assert tail.replaced == [str(log)]


def test_a_file_truncated_and_grown_beyond_its_old_size_begins_again(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    log.write_text("another first\nanother second\n")

    assert tail.look() + tail.read() == [b"another first", b"another second"]


def test_a_file_rewritten_at_the_same_size_begins_again(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.look()
    os.utime(log, (0, 0))
    log.write_text("two\n")

    assert tail.look() + tail.read() == [b"two"]


def test_a_file_removed_after_it_was_opened_is_read_to_its_end(tail: Tail, log: Path) -> None:
    append(log, "one\n")
    tail.finder.scan()
    with log.open("a") as writer:
        log.unlink()
        writer.write("last words\n")

    assert tail.look() == [b"one", b"last words"]
    tail.clock.advance(REMOVED_SECONDS)
    tail.look()
    assert tail.over == [(str(log), 0, True)]
    assert len(tail.files) == 0


def test_the_last_lines_of_a_file_that_was_silent_for_long_are_read_although_it_is_removed_at_once(
    tail: Tail, log: Path
) -> None:
    append(log, "start\n")
    tail.look()
    tail.clock.advance(100 * HOT_SECONDS)
    assert tail.look() == []
    append(log, "last words\n")
    log.unlink()

    assert tail.look() == [b"last words"]
    tail.clock.advance(REMOVED_SECONDS)
    tail.look()
    assert tail.over == [(str(log), 0, True)]


def test_that_holds_also_for_a_file_that_was_silent_since_before_the_start(tail: Tail, log: Path) -> None:
    append(log, "start\n")
    tail.look()
    tail.stop()
    again = Tail(tail.root)
    assert again.look() == []
    append(log, "last words\n")
    log.unlink()

    assert again.look() == [b"last words"]
    again.stop()


def test_when_descriptors_are_short_the_longest_silent_are_closed_and_the_others_are_still_read(
    tail: Tail,
) -> None:
    tail.stop()
    tail = Tail(tail.root, open_files_max=3)
    logs = [tail.root / "logs" / f"{number}.log" for number in range(5)]
    for log in logs:
        append(log, "one\n")
        tail.look()
    tail.look()

    assert [file.path for file in tail.known()] == [str(log) for log in logs[2:]]
    assert all(file.descriptor is not None for file in tail.known())
    assert len(tail.files) == len(logs)  # the others are remembered, and taken up again when they grow
    append(logs[0], "two\n")
    assert tail.look() == [b"two"]
    tail.stop()


def test_a_file_removed_while_it_was_not_open_is_told_with_what_is_known_of_it(tail: Tail) -> None:
    tail.stop()
    tail = Tail(tail.root, open_files_max=0)
    read, unread = tail.root / "logs" / "read.log", tail.root / "logs" / "unread.log"
    append(read, "one\n")
    tail.look()
    append(unread, "four\n")
    tail.finder.scan()
    read.unlink()
    unread.unlink()

    tail.look()

    assert tail.over == [(str(unread), 5, False)]
    assert tail.unwatched == 1
    tail.stop()


def test_a_file_that_takes_a_removed_ones_inode_is_not_mistaken_for_it(tail: Tail) -> None:
    tail.stop()
    tail = Tail(tail.root, open_files_max=0)  # an open descriptor would keep the number
    log = tail.root / "logs" / "a.log"
    append(log, "one\n")
    tail.look()
    inode = log.stat().st_ino
    log.unlink()
    other = log.with_name("b.log")
    append(other, "two\n")
    read = tail.look() + tail.read()
    is_reused = other.stat().st_ino == inode
    tail.stop()
    if not is_reused:
        pytest.skip("this file system did not give the inode number to the next file")

    assert read == [b"two"]


def test_the_last_part_of_an_endless_line_says_that_it_is_the_last(tail: Tail, log: Path) -> None:
    append(log, "x" * (CHUNK_BYTES + 10))
    tail.finder.scan()
    (first,) = tail.accepted()
    tail.clock.advance(IDLE_FLUSH_SECONDS + 0.1)
    (last,) = tail.accepted()

    assert [(part.part, part.is_unfinished) for part in (first, last)] == [(1, True), (2, False)]
    append(log, "the next\n")
    assert tail.look() == [b"the next"]


def test_an_unfinished_line_is_handed_out_when_its_file_has_been_idle(tail: Tail, log: Path) -> None:
    append(log, "one\nunfinished")
    assert tail.look() == [b"one"]
    tail.clock.advance(IDLE_FLUSH_SECONDS - 0.1)
    assert tail.read() == []
    tail.clock.advance(0.2)

    (chunk,) = tail.accepted()

    assert (chunk.data, chunk.is_unfinished, chunk.part) == (b"unfinished", True, 0)
    append(log, " and more\n")
    assert tail.look() == [b" and more"]


def test_a_line_beyond_the_limit_is_handed_out_in_numbered_parts_however_it_is_read(
    tail: Tail, log: Path
) -> None:
    line = "é" * 2500
    append(log, f"before\n{line}\nafter\n")
    tail.finder.scan()

    before, *parts, after = tail.accepted()

    assert (before.data, after.data) == (b"before\n", b"after\n")
    assert b"".join(part.data for part in parts).decode() == f"{line}\n"
    assert [part.part for part in parts] == [1, 2, 3]
    assert [part.is_unfinished for part in parts] == [True, True, False]
    assert all(part.data.decode() for part in parts)  # no character is split
