"""Calls stay within Firehose's limits, and the lines of one source never overtake each other."""

from __future__ import annotations

import json
from base64 import b64encode

from hypothesis import given, strategies as st

from log_forwarder.batching import (
    BILLING_UNIT_BYTES,
    MAX_CALL_BYTES,
    MAX_CALL_RECORDS,
    MAX_RECORD_BYTES,
    Record,
    fill_call,
)

from .building import origin, record

ORIGINS = [origin(number) for number in range(30)]


def record_of(size: int, origins: set[int], number: int = 1) -> Record:
    return record(b"x" * size, of=[ORIGINS[each] for each in sorted(origins)], number=number)


records_lists = st.lists(
    st.builds(
        record_of,
        st.sampled_from([1, 900, 500_000, 1_024_000]),
        st.sets(st.integers(0, 29), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=12,
)


@given(records_lists)
def test_a_call_holds_each_limit_as_boto_spells_it(records: list[Record]) -> None:
    call = fill_call(records)
    body = json.dumps(
        {
            "DeliveryStreamName": "s" * 64,
            "Records": [{"Data": b64encode(record.data).decode()} for record in call],
        }
    )

    assert 1 <= len(call) <= MAX_CALL_RECORDS
    assert len(body) <= MAX_CALL_BYTES


@given(records_lists, st.sets(st.integers(0, 29), max_size=5))
def test_no_origin_is_twice_on_its_way_and_none_is_overtaken(records: list[Record], busy: set[int]) -> None:
    in_flight = {ORIGINS[each] for each in busy}
    call = fill_call(records, in_flight=in_flight)
    on_its_way = [span.origin for record in call for span in record.spans]

    assert len(on_its_way) == len(set(on_its_way))
    assert in_flight.isdisjoint(on_its_way)
    passed_over = set(in_flight)
    for waiting in records:
        if any(waiting is chosen for chosen in call):
            assert passed_over.isdisjoint(waiting.origins)
        else:
            passed_over |= waiting.origins


def test_a_call_takes_at_most_500_records_and_nothing_is_no_call() -> None:
    assert len(fill_call([record(number=number) for number in range(600)])) == 500
    assert fill_call([]) == []


def test_three_full_records_fill_a_call() -> None:
    assert len(fill_call([record_of(MAX_RECORD_BYTES, {number}) for number in range(4)])) == 3


def test_a_record_is_billed_in_units_of_five_kilobytes() -> None:
    assert record_of(1, {1}).billed_bytes == BILLING_UNIT_BYTES
    assert record_of(BILLING_UNIT_BYTES, {1}).billed_bytes == BILLING_UNIT_BYTES
    assert record_of(BILLING_UNIT_BYTES + 1, {1}).billed_bytes == 2 * BILLING_UNIT_BYTES
