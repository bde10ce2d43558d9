from __future__ import annotations

from dataclasses import replace

import pytest

from demo.verdict import Observed, judge

GOOD = Observed(
    tasks_expected=14,
    tasks_succeeded=14,
    tasks_failed=0,
    tasks_tried_again=0,
    workers_started=3,
    workers_killed=0,
    queue_to_capacity_seconds=9.5,
    peak_workers=3,
    max_workers=3,
    released_while_busy=1,
    workers_left=0,
    releases_expected=2,
    releases_published=2,
    tasks_on_wrong_release=0,
    lines_written=1000,
    lines_in_s3=1000,
    lines_twice=0,
    migrations=1,
    sidecars_killed=0,
)


def broken(seen: Observed) -> list[str]:
    return [row.what for row in judge(seen) if not row.holds]


def test_a_good_run_holds_in_every_row() -> None:
    assert broken(GOOD) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"tasks_succeeded": 13},
        {"tasks_failed": 1},
        {"tasks_expected": 0, "tasks_succeeded": 0},
        {"tasks_tried_again": 1},
        {"workers_killed": 1},
        {"workers_started": 0},
        {"queue_to_capacity_seconds": None},
        {"peak_workers": 4},
        {"peak_workers": 0},
        {"released_while_busy": 0},
        {"workers_left": 1},
        {"releases_published": 1},
        {"tasks_on_wrong_release": 1},
        {"lines_in_s3": 999},
        {"lines_in_s3": 1001},
        {"lines_written": 0, "lines_in_s3": 0},
        {"lines_twice": 1},
        {"migrations": 0},
        {"migrations": 2},
    ],
    ids=str,
)
def test_every_way_to_fail_breaks_a_row(bad: dict[str, int]) -> None:
    assert broken(replace(GOOD, **bad)) != []


def test_duplicates_are_forgiven_only_after_a_kill() -> None:
    assert broken(replace(GOOD, lines_twice=50, sidecars_killed=3)) == []
