"""Records are full, their members are whole files, and the same ranges give the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from log_forwarder.batching import MAX_RECORD_BYTES, Record
from log_forwarder.compression import Compression, compressor
from log_forwarder.envelope import Format
from log_forwarder.inputs.base import MAX_CHUNK_BYTES, Chunk
from log_forwarder.packer import Packer

from .building import chunk, origin

ORIGINS = [origin(number, path=f"/logs/{number}.log") for number in range(4)]


def packer(line_format: Format = "envelope", compression: Compression = "none") -> Packer:
    return Packer(line_format=line_format, compress=compressor(compression), facts={})


def packed(chunks: list[Chunk], into: Packer) -> list[Record]:
    return [record for each in chunks for record in into.add(each)] + list(into.seal())


def inflate(data: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.decompress(data)
    if compression == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
            return reader.read()
    return data


def noise(size: int, seed: int = 1) -> bytes:
    """Return lines that cannot be compressed."""
    data = random.Random(seed).randbytes(size - 1)  # noqa: S311 - test data
    return data.replace(b"\n", b" ") + b"\n"


# (origin, size): sizes near the limits are common.
sizes = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([1, 200, 5_000, 400_000, MAX_CHUNK_BYTES])), max_size=20
)


def chunks_of(given_sizes: list[tuple[int, int]]) -> list[Chunk]:
    offsets = [0, 0, 0, 0]
    made = []
    for number, (of, size) in enumerate(given_sizes):
        data = b"%c" % (97 + number % 26) * (size - 1) + b"\n"
        made.append(chunk(data, of=ORIGINS[of], start=offsets[of]))
        offsets[of] += size
    return made


@settings(deadline=None)  # up to 18 MB an example: on a busy machine the time says nothing
@given(sizes, st.sampled_from(["none", "gzip", "zstd"]))
def test_nothing_is_lost_no_record_is_too_large_and_ranges_tile_each_source(
    given_sizes: list[tuple[int, int]], compression: Compression
) -> None:
    chunks = chunks_of(given_sizes)
    records = packed(chunks, packer(compression=compression))

    assert all(0 < len(record.data) <= MAX_RECORD_BYTES for record in records)
    assert sum(record.lines for record in records) == len(chunks)
    offsets = dict.fromkeys(ORIGINS, 0)
    bodies = dict.fromkeys([each.source for each in ORIGINS], b"")
    for record in records:
        for span in record.spans:
            assert span.start == offsets[span.origin]
            offsets[span.origin] = span.end
        for about, body in segments(inflate(record.data, compression)):
            bodies[about["id"].partition(".")[0]] += body
    for each in ORIGINS:
        assert bodies[each.source] == b"".join(one.data for one in chunks if one.origin is each)


def segments(plain: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Take a record apart as a reader of the bucket would."""
    found: list[tuple[dict[str, Any], bytes]] = []
    for line in plain.splitlines(keepends=True):
        if line.startswith(b'{"_fwd":'):
            found.append((json.loads(line)["_fwd"], b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_what_cannot_be_compressed_fits_all_the_same(compression: Compression) -> None:
    records = packed([chunk(noise(MAX_CHUNK_BYTES))], packer(compression=compression))

    assert len(records) == 1
    assert len(records[0].data) <= MAX_RECORD_BYTES


def test_lines_of_many_sources_share_members_and_members_fill_records() -> None:
    pieces = [
        chunk(noise(250_000, seed=number), of=ORIGINS[number % 4], start=250_000 * (number // 4))
        for number in range(40)
    ]

    records = packed(pieces, packer(compression="gzip"))

    assert len(records) == 13  # 10 MB that gzip leaves as they are; three pieces to a member
    assert all(len(record.data) > 700_000 for record in records[:-1])


def test_a_compressed_record_holds_several_members_and_is_one_valid_file() -> None:
    data = b'{"event":"the same again and again"}\n' * 25_000

    records = packed(
        [chunk(data, start=number * len(data)) for number in range(8)], packer(compression="gzip")
    )

    assert len(records) == 1
    assert records[0].data.count(b"\x1f\x8b\x08") >= 8
    assert gzip.decompress(records[0].data).count(b"\n") == 8 * 25_000 + 8


@pytest.mark.parametrize("line_format", ["envelope", "json", "raw"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_same_ranges_give_the_same_bytes_and_the_same_id(
    line_format: Format, compression: Compression
) -> None:
    data = b'{"event":"x"}\nplain text\n' * 20_000
    lines = [chunk(data[at : at + 250], start=at) for at in range(0, len(data), 250)]
    first = packed(lines, packer(line_format, compression))

    for record in first:
        plan = [
            tuple(chunk(data[part.start : part.end], start=part.start) for part in member)
            for member in record.plan
        ]
        (again,) = packer(line_format, compression).again(plan)
        assert (again.data, again.id) == (record.data, record.id)


def test_adjacent_chunks_share_an_envelope_and_others_do_not() -> None:
    (record,) = packed(
        [
            chunk(b"one\n", of=ORIGINS[0]),
            chunk(b"1\n", of=ORIGINS[1]),
            chunk(b"two\n", of=ORIGINS[0], start=4),
            chunk(b"four\n", of=ORIGINS[0], start=100),
        ],
        packer(),
    )

    assert [(about["start"], about["end"], body) for about, body in segments(record.data)] == [
        (0, 8, b"one\ntwo\n"),
        (0, 2, b"1\n"),
        (100, 105, b"four\n"),
    ]


def test_a_packer_says_since_when_the_oldest_byte_waits() -> None:
    mine = packer()
    assert mine.held_since() == {}
    for at in (7.0, 9.0):
        list(mine.add(chunk(b"x\n", start=int(at), read_at=at)))

    assert mine.held_since() == {"file": 7.0}
    assert [record.lines for record in mine.seal()] == [2]
    assert mine.held_since() == {}


@pytest.mark.parametrize("make", [packer, lambda: packer(compression="gzip")])
def test_sealing_nothing_is_no_record(make: Callable[[], Packer]) -> None:
    assert list(make().seal()) == []
