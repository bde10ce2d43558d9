"""An offset covers only what was accepted, without a gap."""

from __future__ import annotations

from hypothesis import given, strategies as st

from log_forwarder.inputs.base import Origin, Span
from log_forwarder.ledger import Ledger

from .building import origin


def spans_of(of: Origin, count: int, *, placeless: set[int] = frozenset()) -> list[Span]:  # type: ignore[assignment]  # a frozenset is never changed
    return [
        Span(of, number * 10, number * 10 + 10, None if number in placeless else number, 0.0)
        for number in range(count)
    ]


@given(st.permutations(range(8)), st.integers(0, 8))
def test_the_offset_is_the_contiguous_accepted_prefix(order: list[int], accepted: int) -> None:
    ledger = Ledger()
    spans = spans_of(origin(), 8)
    ledger.hand_on(spans)
    ends = [0]
    for number in order[:accepted]:
        ends += [span.end for span in ledger.acknowledge([spans[number]])]

    missing = [number for number in range(8) if number not in order[:accepted]]
    assert ends[-1] == 10 * (missing[0] if missing else 8)
    assert ends == sorted(ends)


def test_a_span_that_nobody_could_go_on_from_moves_no_offset_alone() -> None:
    ledger = Ledger()
    spans = spans_of(origin(), 3, placeless={0, 1})
    ledger.hand_on(spans)

    assert ledger.acknowledge(spans[:2]) == []
    assert ledger.acknowledge(spans[2:]) == [spans[2]]


def test_only_what_is_on_its_way_is_remembered() -> None:
    ledger = Ledger()
    spans = [span for number in range(100) for span in spans_of(origin(number), 2)]
    ledger.hand_on(spans)
    assert len(ledger) == 100
    ledger.acknowledge(spans)

    assert len(ledger) == 0


def test_what_was_never_handed_on_is_left_alone() -> None:
    assert Ledger().acknowledge(spans_of(origin(), 1)) == []
