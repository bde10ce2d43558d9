"""Records and calls stay within Firehose's limits and are as full as they can be."""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import pairwise

from hypothesis import given, settings, strategies as st

from log_forwarder.batching import (
    BILLING_UNIT_BYTES,
    MAX_CALL_BYTES,
    MAX_CALL_RECORDS,
    MAX_RECORD_BYTES,
    Packer,
    Record,
    Span,
    fill_call,
)
from log_forwarder.fingerprint import MARKER_BYTES, Fingerprint
from log_forwarder.framing import Piece

# (file, size of one line): sizes near the limits are common.
lines = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([1, 200, 5_000, 400_000, 1_023_998, 1_024_000])), max_size=40
)


def pack(given_lines: list[tuple[int, int]]) -> tuple[list[Record], bytes]:
    packer = Packer()
    offsets = dict.fromkeys(range(4), 0)
    places = dict.fromkeys(range(4), Fingerprint(b"", b""))
    records: list[Record | None] = []
    everything = b""
    for number, (file, size) in enumerate(given_lines):
        text = b"%c" % (97 + number % 26) * (size - 1)
        start = offsets[file]
        offsets[file] = start + size
        piece = Piece(start, start + size, text, part=0, is_last=True, is_terminated=True)
        places[file] = places[file].after(piece)
        records.append(packer.add(text + b"\n", piece, generation=file, fingerprint=places[file]))
        everything += text + b"\n"
    records.append(packer.seal())
    return [record for record in records if record], everything


@settings(deadline=None)  # up to 40 MB an example: on a busy machine the time says nothing
@given(lines)
def test_records_joined_are_the_lines_joined_and_none_is_too_large(
    given_lines: list[tuple[int, int]],
) -> None:
    records, everything = pack(given_lines)

    assert b"".join(record.data for record in records) == everything
    assert all(len(record.data) <= MAX_RECORD_BYTES for record in records)
    assert sum(record.lines for record in records) == len(given_lines)


@settings(deadline=None)  # up to 40 MB an example: on a busy machine the time says nothing
@given(lines)
def test_a_record_is_only_sealed_when_the_next_line_does_not_fit(given_lines: list[tuple[int, int]]) -> None:
    records, _ = pack(given_lines)

    for record, following in pairwise(records):
        next_line = following.data.split(b"\n", 1)[0] + b"\n"
        assert len(record.data) + len(next_line) > MAX_RECORD_BYTES


@settings(deadline=None)  # up to 40 MB an example: on a busy machine the time says nothing
@given(lines)
def test_spans_tile_each_file(given_lines: list[tuple[int, int]]) -> None:
    records, _ = pack(given_lines)
    offsets = dict.fromkeys(range(4), 0)
    for record in records:
        for span in record.spans:
            assert span.start == offsets[span.generation]
            offsets[span.generation] = span.end
            assert len(span.fingerprint.marker) == min(MARKER_BYTES, span.end)


def record_of(size: int, generations: set[int]) -> Record:
    spans = tuple(
        Span(generation=generation, start=0, end=size, parts_after=0, fingerprint=Fingerprint(None, b"\n"))
        for generation in sorted(generations)
    )
    return Record(data=b"x" * size, spans=spans, lines=1)


records_lists = st.lists(
    st.builds(
        record_of,
        st.sampled_from([1, 900, 500_000, 1_024_000]),
        st.sets(st.integers(0, 1000), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=12,
)


@given(records_lists)
def test_a_call_holds_each_limit_as_boto_spells_it(records: list[Record]) -> None:
    call = records[: fill_call(records)]
    body = json.dumps(
        {
            "DeliveryStreamName": "s" * 64,
            "Records": [{"Data": b64encode(record.data).decode()} for record in call],
        }
    )

    assert 1 <= len(call) <= MAX_CALL_RECORDS
    assert len(body) <= MAX_CALL_BYTES


@given(records_lists)
def test_no_file_is_in_two_records_of_a_call(records: list[Record]) -> None:
    call = records[: fill_call(records)]
    generations = [span.generation for record in call for span in record.spans]

    assert len(generations) == len(set(generations))


def test_a_call_takes_at_most_500_records_and_nothing_is_no_call() -> None:
    assert fill_call([record_of(10, {number}) for number in range(600)]) == 500
    assert fill_call([]) == 0


def test_three_full_records_fill_a_call() -> None:
    assert fill_call([record_of(MAX_RECORD_BYTES, {number}) for number in range(4)]) == 3


def test_a_record_is_billed_in_units_of_five_kilobytes() -> None:
    assert record_of(1, {1}).billed_bytes == BILLING_UNIT_BYTES
    assert record_of(BILLING_UNIT_BYTES, {1}).billed_bytes == BILLING_UNIT_BYTES
    assert record_of(BILLING_UNIT_BYTES + 1, {1}).billed_bytes == 2 * BILLING_UNIT_BYTES
