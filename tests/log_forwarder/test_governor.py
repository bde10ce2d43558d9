"""How many calls at a time, how fast, and how long to pause."""

from __future__ import annotations

import random

from hypothesis import given, strategies as st

from log_forwarder.governor import LONGEST_PAUSE_SECONDS, Governor


def governor(*, calls_max: int = 8, quota: float = 0.0, seed: int = 1) -> Governor:
    rng = random.Random(seed)  # noqa: S311 - jitter, not cryptography
    return Governor(draw=rng.uniform, calls_max=calls_max, quota_bytes_per_second=quota)


def test_concurrency_grows_by_one_for_each_round_of_success_and_halves_on_failure() -> None:
    mine = governor()
    seen = [mine.calls]
    for _ in range(40):
        mine.succeeded()
        seen.append(mine.calls)
    assert seen == sorted(seen)
    assert seen[-1] == 8

    mine.failed(0.0)
    assert mine.calls == 4
    for _ in range(9):
        mine.failed(0.0)
    assert mine.calls == 1


def test_while_nothing_is_accepted_one_call_at_a_time_asks_again() -> None:
    mine = governor()
    mine.hurry(0.0)
    mine.failed(0.0)

    assert mine.wait_seconds(100.0, in_flight=1) == float("inf")
    assert mine.wait_seconds(100.0, in_flight=0) == 0


@given(st.integers(1, 10_000), st.integers(0, 2**32))
def test_pauses_are_drawn_from_all_of_a_growing_span_and_stay_bounded(failures: int, seed: int) -> None:
    mine = governor(seed=seed)
    for _ in range(min(failures, 60)):
        mine.failed(0.0)

    assert (
        0 <= mine.wait_seconds(0.0, in_flight=0) <= min(LONGEST_PAUSE_SECONDS, 0.1 * 2.0 ** min(failures, 30))
    )


def test_pauses_have_full_jitter() -> None:
    pauses = []
    for seed in range(400):
        mine = governor(seed=seed)
        for _ in range(20):
            mine.failed(0.0)
        pauses.append(mine.wait_seconds(0.0, in_flight=0))

    assert min(pauses) < 1
    assert max(pauses) > 29


def test_a_quota_is_kept_over_any_ten_seconds() -> None:
    mine = governor(quota=1_000_000.0)
    now, sent = 0.0, 0
    while now < 10.0:
        wait = mine.wait_seconds(now, in_flight=0)
        if wait:
            now += wait + 1e-6
            continue
        mine.began(300_000)
        sent += 300_000
        now += 0.01

    assert 10_000_000 <= sent <= 11_500_000  # one second's burst on top


def test_a_hurry_ends_the_pause_that_is_on() -> None:
    mine = governor()
    for _ in range(20):
        mine.failed(0.0)
    mine.hurry(0.0)

    assert mine.wait_seconds(0.0, in_flight=0) == 0
    for _ in range(20):
        mine.failed(0.0)
        assert mine.wait_seconds(0.0, in_flight=0) <= 1


def test_a_success_ends_the_outage() -> None:
    mine = governor()
    mine.failed(5.0)
    mine.failed(6.0)
    assert mine.failing_since == 5.0
    mine.was_partial(7.0)

    assert mine.failures == 0
