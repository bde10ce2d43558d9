"""Frames are cut where they end, understood in every mode, and no bytes break either."""

from __future__ import annotations

import gzip
import json
import os
import random
import tracemalloc
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
import zstandard
from hypothesis import given, strategies as st

from log_forwarder.forward import codec
from log_forwarder.forward.codec import Event, decode
from log_forwarder.forward.frames import FrameError, Framer, Taken

from .forward_client import EVENT_TIME, docker_message, packed_entries

RECORD = {"log": "a line", "container_name": "/web", "source": "stdout", "container_id": "c" * 64}
RAW = {key.encode(): value.encode() for key, value in RECORD.items()}
GZIPPED = gzip.compress(packed_entries([RECORD])) + gzip.compress(packed_entries([RECORD]))
ZSTD = zstandard.ZstdCompressor()

MODES: dict[str, Any] = {
    "message": ["t", EVENT_TIME, RECORD],
    "message with option": ["t", 1700000000, RECORD, {}],
    "message with a float time": ["t", 1.5, RECORD, {"chunk": "YQ=="}],
    "forward": ["t", [[EVENT_TIME, RECORD]], {"size": 1}],
    "forward with metadata": ["t", [[[EVENT_TIME, {}], RECORD]], {"fluent_signal": 0}],
    "packed": ["t", packed_entries([RECORD]), {"chunk": "YQ=="}],
    "packed as a string": ["t", packed_entries([RECORD]).decode("latin-1").encode("latin-1"), {}],
    "packed without option": ["t", packed_entries([RECORD])],
    "gzip": ["t", gzip.compress(packed_entries([RECORD])), {"compressed": "gzip"}],
    "zstd": ["t", ZSTD.compress(packed_entries([RECORD])), {"compressed": "zstd"}],
}
EXT8 = b"\x94\xa1t\xc7\x08\x00" + bytes(8) + msgpack.packb(RECORD) + b"\x80"


def events(frames: bytes) -> list[Event]:
    return list(decode(frames))


@pytest.mark.parametrize("frame", MODES.values(), ids=MODES)
def test_every_mode_gives_its_event(frame: Any) -> None:
    assert events(msgpack.packb(frame)) == [Event(b"t", RAW)]


def test_an_event_time_in_either_spelling_is_a_time() -> None:
    assert events(EXT8) == [Event(b"t", RAW)]
    assert Framer().take(EXT8).messages == 1


@pytest.mark.parametrize(
    ("packed", "compressed"),
    [
        (GZIPPED, "gzip"),
        (ZSTD.compress(packed_entries([RECORD])) + ZSTD.compress(packed_entries([RECORD])), "zstd"),
    ],
)
def test_concatenated_members_are_read_to_the_end(packed: bytes, compressed: str) -> None:
    assert events(msgpack.packb(["t", packed, {"compressed": compressed}])) == [Event(b"t", RAW)] * 2


def test_heartbeats_are_no_events_and_count_as_nothing() -> None:
    assert events(b"\xc0\xc0" + msgpack.packb(["t", 1, RECORD])) == [Event(b"t", RAW)]


@pytest.mark.parametrize(
    "frame",
    [
        ["t", "no record"],
        ["t", 1],
        ["t", 1, "text"],
        [7, 1, RECORD],
        ["t", [["time alone"]]],
        ["t", packed_entries([RECORD]), {"fluent_signal": 1}],
        ["t", packed_entries([RECORD]), {"compressed": "snappy"}],
    ],
)
def test_what_is_accepted_and_not_understood_keeps_its_bytes(frame: Any) -> None:
    raw = msgpack.packb(frame)
    (event,) = events(raw)
    assert event.record is None
    assert event.unreadable == raw


@pytest.mark.parametrize("compressed", ["gzip", "zstd"])
def test_of_a_broken_compressed_frame_the_events_before_the_break_come_first(compressed: str) -> None:
    plain = packed_entries([{**RECORD, "n": os.urandom(30).hex()} for _ in range(20_000)])
    packed = gzip.compress(plain, 1) if compressed == "gzip" else ZSTD.compress(plain)
    found = events(msgpack.packb(["t", packed[: len(packed) * 3 // 4], {"compressed": compressed}]))
    assert len(found) > 1000
    assert found[-1].record is None


def test_a_bomb_is_cut_at_the_limit_and_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_INFLATED_BYTES", 8 * 1024 * 1024)
    bomb = gzip.compress(packed_entries([RECORD]) * 200_000)
    frame = msgpack.packb(["t", bomb, {"compressed": "gzip"}])
    tracemalloc.start()
    try:
        count = sum(1 for _ in decode(frame))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 50_000 < count < 200_000
    assert peak_bytes < 4 * 1024 * 1024


def test_a_large_frame_of_small_entries_is_read_entry_by_entry() -> None:
    frame = b"\x92\xa1t\xdd" + (500_000).to_bytes(4) + b"\x92\x01\x80" * 500_000
    tracemalloc.start()
    try:
        assert sum(1 for event in decode(frame) if event.record == {}) == 500_000
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 * 1024 * 1024


@given(st.lists(st.sampled_from([*map(msgpack.packb, MODES.values()), b"\xc0"]), max_size=8), st.data())
def test_frames_are_found_however_the_bytes_arrive(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames)
    cuts = data.draw(st.lists(st.integers(min_value=0, max_value=len(stream)), max_size=12).map(sorted))
    framer = Framer()
    taken = [framer.take(stream[a:b]) for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert b"".join(one.frames for one in taken) == stream
    assert sum(one.messages for one in taken) == len(frames)
    assert framer.held_bytes == 0


@given(st.integers(min_value=0, max_value=len(docker_message("x" * 50)) - 1))
def test_half_a_frame_is_held_and_never_handed_on(cut: int) -> None:
    framer = Framer()
    assert framer.take(docker_message("x" * 50)[:cut]) == Taken(b"", 0, [])
    assert framer.held_bytes == cut


@pytest.mark.parametrize(
    ("frame", "chunks"),
    [
        (["t", 1, {"chunk": "of the record"}], []),
        (["t", 1, {"chunk": "of the record"}, {"chunk": "YQ=="}], [b"YQ=="]),
        (["t", [[1, RECORD]], {"chunk": "Yg=="}], [b"Yg=="]),
        (["t", packed_entries([RECORD]), {"chunk": "Yw==", "compressed": "text"}], [b"Yw=="]),
        (["chunk", 1, RECORD, {}], []),
    ],
)
def test_only_an_option_asks_for_an_acknowledgement(frame: Any, chunks: list[bytes]) -> None:
    assert Framer().take(msgpack.packb(frame)).chunks == chunks


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"{}", b"\x92\xa1t\xc1", b"\x9f\x00"]
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(FrameError):
        Framer().take(garbage + bytes(100))


@pytest.mark.parametrize("endless", [b"\xdd\xff\xff\xff\xff", b"\x92\xa1t\xc6\xff\xff\xff\xff"])
def test_a_frame_without_end_is_refused_at_the_limit(endless: bytes) -> None:
    framer = Framer(max_frame_bytes=100_000)
    framer.take(endless + bytes(90_000))
    with pytest.raises(FrameError):
        framer.take(bytes(20_000))


def fuzzed_frames(rng: random.Random, count: int) -> int:
    """Damage frames at random and read them; return how many were refused. Raises what must not be raised."""
    seeds = [*map(msgpack.packb, MODES.values()), msgpack.packb(["t", GZIPPED, {"compressed": "gzip"}]), EXT8]
    refused = 0
    for _ in range(count):
        data = bytearray(b"".join(rng.choices(seeds, k=rng.randint(1, 3))))
        for _ in range(rng.randint(0, 6)):
            action, at = rng.randrange(3), rng.randrange(len(data))
            if action == 0:
                data[at] = rng.randrange(256)
            elif action == 1:
                del data[at : at + rng.randint(1, 9)]
            else:
                data[at:at] = rng.randbytes(rng.randint(1, 9))
            data = data or bytearray(b"\xc0")
        framer = Framer(max_frame_bytes=64 * 1024)
        try:
            taken = framer.take(bytes(data))
        except FrameError:
            refused += 1
            continue
        for event in decode(taken.frames):
            assert (event.record is None) == bool(event.unreadable)
    return refused


def test_damaged_frames_are_refused_or_kept_and_leak_nothing() -> None:
    """Set FORWARD_FUZZ_FRAMES=500000 for a long run."""
    frames = int(os.environ.get("FORWARD_FUZZ_FRAMES", "3000"))  # noqa: TID251 - a test may be told how long
    rng = random.Random(frames)  # noqa: S311 - to be repeated, not to be secret
    fuzzed_frames(rng, 500)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        refused = fuzzed_frames(rng, frames)
        grown_bytes = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0 < refused < frames
    assert grown_bytes < 256 * 1024


def test_records_need_not_be_utf8() -> None:
    (event,) = events(msgpack.packb(["t", 1, {"log": b"\xff\xfe"}]))
    assert event.record == {b"log": b"\xff\xfe"}
    assert json.dumps(len(event.tag)) == "1"
