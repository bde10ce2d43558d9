"""What the past says of a task's end and of the runs to come."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from worker_scaler.history import QUANTILES, Durations, History, NextRun, TaskName

from .fakes import NOON

seconds = st.floats(min_value=0, max_value=1e6)
durations = st.lists(seconds, min_size=len(QUANTILES), max_size=len(QUANTILES)).map(
    lambda values: Durations(samples=9, seconds=tuple(sorted(values)))
)


@given(durations, st.floats(min_value=0, max_value=1))
def test_a_duration_lies_between_the_shortest_and_the_longest_run(known: Durations, share: float) -> None:
    assert known.seconds[0] <= known.at(share) <= known.seconds[-1]


@given(durations, seconds)
def test_the_share_is_the_inverse_of_the_duration(known: Durations, age: float) -> None:
    share = known.share_at(age)

    assert 0 <= share <= 1
    if known.seconds[0] <= age <= known.seconds[-1] and share < 1:
        assert known.at(share) <= age + 1e-6 * max(1.0, age)


@given(durations, seconds, st.floats(min_value=0, max_value=1))
def test_what_remains_is_never_negative_and_never_beyond_the_longest_run(
    known: Durations, age: float, share: float
) -> None:
    rest = known.remaining(age, share=share)

    if age >= known.seconds[-1]:
        assert rest is None
    else:
        assert rest is not None
        assert 0 <= rest <= known.seconds[-1] - age + 1e-6 * known.seconds[-1]


def test_the_longer_a_heavy_tailed_task_has_lived_the_more_of_it_is_left() -> None:
    heavy = Durations(samples=100, seconds=(1, 2, 3, 5, 10, 60, 600, 3600, 7200))

    young, old = heavy.remaining(1), heavy.remaining(100)

    assert young is not None
    assert old is not None
    assert young < 10
    assert old > 600


def test_a_task_nobody_knows_has_no_prediction() -> None:
    assert History().remaining("d", "t", age_seconds=5) is None


def test_arrivals_are_the_first_stages_of_the_runs_in_the_span() -> None:
    soon, later = NOON + timedelta(seconds=60), NOON + timedelta(seconds=600)
    history = History(
        taken_at=NOON,
        durations={TaskName(dag_id="a", task_id="t"): Durations(samples=1, seconds=(1.0,) * len(QUANTILES))},
        next_runs=(
            NextRun(dag_id="a", at=soon, width={"heavy": 4, "light": 1}),
            NextRun(dag_id="b", at=later, width={"heavy": 8}),
        ),
    )

    assert history.arrivals(["heavy"], after=NOON, until=soon) == 4
    assert history.arrivals(["heavy", "light"], after=NOON, until=later) == 13
    assert history.arrivals(["heavy"], after=soon, until=soon + timedelta(seconds=1)) == 0
    assert history.remaining("a", "t", age_seconds=0.5) == pytest.approx(0.5)
