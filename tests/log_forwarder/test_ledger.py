"""An offset covers only what was accepted, without a gap."""

from __future__ import annotations

from hypothesis import given, strategies as st

from log_forwarder.batching import Span
from log_forwarder.fingerprint import Fingerprint
from log_forwarder.ledger import Ledger


def span(start: int, end: int) -> Span:
    return Span(generation=1, start=start, end=end, parts_after=0, fingerprint=Fingerprint(None, b"\n"))


@given(st.permutations(range(8)), st.integers(0, 8))
def test_the_offset_is_the_contiguous_accepted_prefix(order: list[int], accepted: int) -> None:
    ledger = Ledger()
    ledger.open(1, 0)
    for number in order[:accepted]:
        ledger.acknowledge([span(number * 10, number * 10 + 10)])

    missing = [number for number in range(8) if number not in order[:accepted]]
    assert ledger.offset(1) == 10 * (missing[0] if missing else 8)


def test_spans_of_a_file_that_was_read_twice_do_not_hold_its_offset() -> None:
    ledger = Ledger()
    ledger.open(1, 0)
    ledger.acknowledge([span(0, 100)])

    ledger.acknowledge([span(0, 150)])
    ledger.acknowledge([span(150, 200)])

    assert ledger.offset(1) == 200


def test_a_forgotten_file_is_left_alone() -> None:
    ledger = Ledger()
    ledger.open(1, 0)
    ledger.forget(1)

    assert ledger.acknowledge([span(0, 10)]) == []
