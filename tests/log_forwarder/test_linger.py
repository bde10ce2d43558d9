"""A record waits for more where that saves money, and only there."""

from __future__ import annotations

from hypothesis import given, strategies as st

from log_forwarder.batching import billed_bytes
from log_forwarder.linger import WORTHWHILE_BYTES, is_due


def wait_for(bytes_per_second: float, *, flush_seconds: float = 5.0) -> tuple[float, int]:
    """Return how long a record waits at a steady pace, and how large it is then."""
    age = 0.0
    while not is_due(int(bytes_per_second * age), age, flush_seconds=flush_seconds):
        age += 0.1
    return age, int(bytes_per_second * age)


@given(st.floats(2_500, 1e6))
def test_from_a_megabyte_of_logs_a_minute_on_the_bill_is_within_3_percent(bytes_per_second: float) -> None:
    """1 MB a minute of Airflow's lines, compressed 6.3 times, is 2,646 bytes a second."""
    _, record_bytes = wait_for(bytes_per_second)

    average_waste = 2_560 / record_bytes
    assert average_waste <= 0.03


def test_a_trickle_is_not_kept_waiting_for_cents() -> None:
    assert wait_for(100.0)[0] < 5.2


def test_a_busy_source_is_sent_as_soon_as_a_record_is_worth_it() -> None:
    age, record_bytes = wait_for(50_000.0)

    assert age < 5.2
    assert record_bytes >= WORTHWHILE_BYTES


@given(st.integers(0, 10**6), st.floats(60.0, 1e4))
def test_nothing_waits_longer_than_twelve_times_the_flush_time(likely_bytes: int, age: float) -> None:
    assert is_due(likely_bytes, age, flush_seconds=5.0)


def test_the_worst_rounding_is_what_the_average_says() -> None:
    sizes = range(WORTHWHILE_BYTES, WORTHWHILE_BYTES + 5_120)
    waste = sum(billed_bytes(size) - size for size in sizes) / len(sizes)

    assert waste / WORTHWHILE_BYTES < 0.03
