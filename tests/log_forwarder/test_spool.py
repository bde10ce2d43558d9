"""What was appended is read again, whatever killed the writer; what was accepted is deleted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from log_forwarder.spool.records import Entry, encode, whole_records
from log_forwarder.spool.spool import Spool, SpoolBroken, SpoolFull
from sidecar.testing.waiting import wait_until

MIB = 1024 * 1024


@contextmanager
def opened(directory: Path, *, budget_bytes: int = 64 * MIB, begin_at: int = 0) -> Iterator[Spool]:
    spool = Spool(directory, budget_bytes=budget_bytes, begin_at=begin_at)
    try:
        yield spool
    finally:
        spool.close()


def payloads(spool: Spool, position: int | None = None) -> list[bytes]:
    """Return everything that is durable, waiting until all is."""
    assert spool.wait_until_durable(spool.end, timeout_seconds=10)
    at = spool.start if position is None else position
    found: list[Entry] = []
    while entries := spool.read(at, most_bytes=64 * 1024, on_damage=no_damage):
        found += entries
        at = entries[-1].end
    return [entry.payload for entry in found]


def no_damage(lost_bytes: int) -> None:
    raise AssertionError(f"{lost_bytes} bytes could not be read")


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_records_are_read_as_they_were_written(contents: list[bytes]) -> None:
    data = b"".join(map(encode, contents))
    entries = list(whole_records(data, at=7))
    assert [entry.payload for entry in entries] == contents
    assert [entry.start for entry in entries] == [7, *[entry.end for entry in entries]][: len(entries)]


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=8), st.data())
def test_a_flipped_bit_ends_the_records_before_it_and_invents_nothing(
    contents: list[bytes], data: st.DataObject
) -> None:
    raw = bytearray(b"".join(map(encode, contents)))
    at = data.draw(st.integers(min_value=0, max_value=len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    found = [entry.payload for entry in whole_records(bytes(raw), at=0)]
    assert found == contents[: len(found)]
    assert len(found) < len(contents)


def test_a_segment_cut_at_any_byte_gives_exactly_the_whole_records_before_the_cut(tmp_path: Path) -> None:
    contents = [b"first", b"x" * 40, b"third, the longest of them all", b"!"]
    ends = [0]
    for content in contents:
        ends.append(ends[-1] + len(encode(content)))
    whole = b"".join(map(encode, contents))
    for cut in range(len(whole) + 1):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / f"{100:020d}.spool").write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends) - 1
        with opened(directory) as spool:
            assert spool.cut_bytes == cut - ends[kept]
            assert payloads(spool) == contents[:kept]
            spool.append(b"after the cut")
            assert payloads(spool) == [*contents[:kept], b"after the cut"]
            assert spool.start == 100


def test_an_empty_or_zeroed_tail_is_no_record(tmp_path: Path) -> None:
    (tmp_path / f"{0:020d}.spool").write_bytes(encode(b"one") + bytes(4096))
    with opened(tmp_path) as spool:
        assert payloads(spool) == [b"one"]
        assert spool.cut_bytes == 4096


def test_positions_go_on_over_restarts_and_after_everything_was_released(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        first_end = spool.append(b"a" * 1000)
        spool.release(first_end)
    with opened(tmp_path) as spool:
        assert spool.end == first_end
        assert spool.append(b"b") > first_end
    with opened(tmp_path / "other", begin_at=12345) as spool:
        assert spool.start == 12345


def test_records_cross_segments_in_order_and_released_segments_are_deleted(tmp_path: Path) -> None:
    with opened(tmp_path, budget_bytes=2 * MIB) as spool:
        contents = [bytes([number]) * 100_000 for number in range(15)]
        for content in contents:
            spool.append(content)
        assert len(list(tmp_path.iterdir())) > 2
        assert payloads(spool) == contents
        spool.release(spool.end)
        assert len(list(tmp_path.iterdir())) == 1
        assert spool.held_bytes < MIB


def test_a_full_budget_refuses_and_room_comes_with_acceptance(tmp_path: Path) -> None:
    with opened(tmp_path, budget_bytes=MIB) as spool:
        for _ in range(104):
            spool.append(b"x" * 10_000)
        with pytest.raises(SpoolFull):
            spool.append(b"x" * 10_000)
        assert spool.held_bytes <= MIB
        assert not spool.wait_for_room(100_000, timeout_seconds=0)
        spool.release(spool.end)
        assert spool.wait_for_room(900_000, timeout_seconds=0)
        spool.append(b"y" * 900_000)
        assert payloads(spool)[-1] == b"y" * 900_000


def test_a_record_larger_than_the_budget_is_taken_when_nothing_else_is_held(tmp_path: Path) -> None:
    with opened(tmp_path, budget_bytes=MIB) as spool:
        spool.append(b"z" * 3 * MIB)
        assert [len(payload) for payload in payloads(spool)] == [3 * MIB]


def test_a_full_volume_keeps_what_is_whole_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write = os.write

    def half_then_full(descriptor: int, data: bytes) -> int:
        if len(data) > 500:
            return really_write(descriptor, bytes(data[:500]))
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as spool:
        spool.append(b"before")
        monkeypatch.setattr(os, "write", half_then_full)
        with pytest.raises(SpoolFull):
            spool.append(b"x" * 800)
        monkeypatch.setattr(os, "write", really_write)
        spool.append(b"after")
        assert payloads(spool) == [b"before", b"after"]


def test_after_a_failed_fsync_nothing_is_called_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with opened(tmp_path) as spool:
        monkeypatch.setattr(os, "fdatasync", fail)
        end = spool.append(b"a")
        with pytest.raises(SpoolBroken):
            spool.wait_until_durable(end, timeout_seconds=10)
        with pytest.raises(SpoolBroken):
            spool.append(b"b")


def test_many_writers_share_commits_and_each_record_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    really_sync = os.fdatasync

    def count(descriptor: int) -> None:
        commits.append(descriptor)
        really_sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", count)
    with opened(tmp_path) as spool:

        def write(name: int) -> None:
            for number in range(200):
                end = spool.append(b"%d-%d" % (name, number))
            assert spool.wait_until_durable(end, timeout_seconds=20)

        threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = payloads(spool)
    assert sorted(found) == sorted(b"%d-%d" % (name, number) for name in range(8) for number in range(200))
    assert [p for p in found if p.startswith(b"3-")] == [b"3-%d" % number for number in range(200)]
    assert len(commits) < 1600


def test_damage_in_the_middle_costs_one_record_and_is_told(tmp_path: Path) -> None:
    with opened(tmp_path, budget_bytes=2 * MIB) as spool:
        for number in range(10):
            spool.append(bytes([65 + number]) * 100_000)
        segments = sorted(tmp_path.iterdir())
    with segments[0].open("r+b") as file:
        file.seek(20)
        file.write(b"?")
    lost: list[int] = []
    with opened(tmp_path, budget_bytes=2 * MIB) as spool:
        entries = spool.read(0, most_bytes=MIB, on_damage=lost.append)
        assert entries[0].start == 100_008
        assert lost == [entries[0].start]


def test_a_damaged_byte_in_the_last_segment_costs_its_record_and_not_those_behind_it(tmp_path: Path) -> None:
    contents = [b"line %d\0\0" % number for number in range(10)]
    path = tmp_path / f"{0:020d}.spool"
    raw = bytearray(b"".join(map(encode, contents)) + encode(b"torn")[:-1])
    raw[40] ^= 1
    path.write_bytes(raw)
    lost: list[int] = []
    with opened(tmp_path) as spool:
        assert spool.cut_bytes == len(encode(b"torn")) - 1
        entries: list[Entry] = []
        while more := spool.read(entries[-1].end if entries else 0, most_bytes=MIB, on_damage=lost.append):
            entries += more
    assert [entry.payload for entry in entries] == contents[:2] + contents[3:]
    assert lost == [len(encode(contents[2]))]


def test_nothing_is_read_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    really_sync = os.fdatasync

    def wait(descriptor: int) -> None:
        gate.wait(20)
        really_sync(descriptor)

    read: Callable[[Spool], list[Entry]] = lambda spool: spool.read(0, most_bytes=MIB, on_damage=no_damage)  # noqa: E731 - one line says it
    monkeypatch.setattr(os, "fdatasync", wait)
    with opened(tmp_path) as spool:
        end = spool.append(b"a")
        assert read(spool) == []
        gate.set()
        wait_until(lambda: spool.durable >= end, "durable")
        assert [entry.payload for entry in read(spool)] == [b"a"]
