"""The seventeen failures that a scaler of Airflow on ECS must survive, each with a test of that name.

Where the right behaviour is tested already, the row points to it; that this exists is tested too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from worker_scaler.deaths import Cause
from worker_scaler.decide import decide
from worker_scaler.decision import Decision, Why
from worker_scaler.losses import Losses
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, Phase, Reading, Sighting
from worker_scaler.occupancy import assess
from worker_scaler.steps import SetDesired, Unprotect

from .fakes import NOON, arn, fleet, host, reading, sighting, worker

A_TICK = timedelta(seconds=10)
HERE = Path(__file__).parent

ELSEWHERE = {
    1: (
        "test_cycle.py::test_a_database_that_is_down_changes_nothing_and_fails_the_tick",
        "test_decide.py::test_a_missing_or_stale_reading_lets_nobody_go_and_only_repairs",
        "test_guards.py::test_of_an_incomplete_reading_only_more_is_believed",
        "test_release.py::test_a_failed_reading_between_the_two_proofs_starts_them_anew",
    ),
    3: (
        "test_decide.py::test_many_workers_with_one_long_task_each_all_stay_above_the_maximum",
        "test_agent_tier.py::test_a_surplus_worker_is_cordoned_then_quiet_then_unprotected_then_let_go",
        "test_agent_tier.py::test_when_demand_returns_workers_are_uncordoned_before_any_is_started",
    ),
    4: (
        "test_decide.py::test_a_count_lowered_by_somebody_else_is_repaired_before_anything_is_protected",
        "test_ecs.py::test_more_protected_than_desired_is_refused_by_name",
    ),
    5: (
        "test_trouble.py::test_old_workers_are_given_to_a_deployment_once_they_are_proven_idle_twice",
        "test_trouble.py::test_a_busy_old_worker_is_kept_through_a_deployment",
        "test_trouble.py::test_a_failed_deployment_is_never_pushed_but_busy_workers_are_kept",
    ),
    6: (
        "test_agent_tier.py::test_a_message_that_the_open_poll_still_brings_is_finished_first",
        "test_guards.py::test_a_doubted_fleet_keeps_its_last_worker",
        "test_guards.py::test_a_doubt_starts_nobody",
    ),
    7: ("test_decide.py::test_a_busy_host_that_belongs_to_a_stopped_worker_holds_nothing_up",),
    8: (
        "test_trouble.py::test_a_service_that_cannot_start_workers_is_not_pushed_and_says_why",
        "test_trouble.py::test_it_is_tried_again_after_pauses_that_double_and_then_forgotten_when_a_worker_starts",
    ),
    9: (
        "test_ecs.py::test_throttling_and_server_errors_may_be_tried_again",
        "test_ecs.py::test_a_worker_missing_from_an_answer_is_unknown_not_absent",
        "test_many_fleets.py::test_the_less_urgent_leave_a_rest_to_the_more_urgent",
        "test_many_fleets.py::test_fifty_services_and_five_hundred_workers_are_steered_within_half_the_quota",
    ),
    10: (
        "test_advisory_lock.py::test_the_first_copy_writes_and_the_second_stands_by_and_names_it",
        "test_process.py::test_kill_dash_nine_in_the_middle_of_a_release_stops_no_task",
        "test_black_box.py::test_whatever_happens_no_busy_worker_is_stopped_and_the_count_covers_them",
    ),
    12: (
        "test_guards.py::test_the_limit_that_binds_is_named",
        "test_database_facts.py::test_scheduled_tasks_are_demand_only_when_asked_for_and_as_far_as_the_pool_has_room",
    ),
    15: (
        "test_decide.py::test_what_holds_a_surplus_is_said",
        "test_cycle.py::test_an_unmatched_host_is_named_once_and_stays_in_the_metrics",
        "test_agent_tier.py::test_an_unmatched_host_uncordons_everybody",
    ),
    16: ("test_cycle.py::test_orphan_queues_are_named",),
}
HERE_TESTED = {2: "_02_", 11: "_11_", 13: "_13_", 14: "_14_", 17: "_17_"}


def test_every_failure_has_a_test() -> None:
    assert sorted([*ELSEWHERE, *HERE_TESTED]) == list(range(1, 18))
    mine = Path(__file__).read_text()
    assert all(f"def test_failure{mark}" in mine for mark in HERE_TESTED.values())


@pytest.mark.parametrize("pointer", [each for row in ELSEWHERE.values() for each in row])
def test_what_a_row_points_to_exists(pointer: str) -> None:
    file, name = pointer.split("::")

    assert re.search(rf"^(async )?def {name}\(", (HERE / file).read_text(), re.MULTILINE)


def ticks(policy: Fleet, look: Sighting, *readings: Reading) -> list[Decision]:
    """Decide tick after tick on the same service."""
    memory, decisions = Memory(), []
    for read in readings:
        got = decide(policy, look, read, memory, now=read.taken_at)
        memory = got.memory
        decisions.append(got)
    return decisions


def lowers(decision: Decision) -> bool:
    return decision.numbers.desired_after < decision.numbers.desired_before


def test_failure_02_an_empty_queue_with_all_slots_busy_stops_nobody() -> None:
    seen = sighting(3, worker(1), worker(2), worker(3))
    busy = {host(number): 2 for number in (1, 2, 3)}

    for got in ticks(fleet(), seen, *(reading(0, busy, at=NOON + A_TICK * n) for n in range(50))):
        assert got.why is Why.STEADY
        assert not any(isinstance(step, SetDesired | Unprotect) for step in got.steps)


def test_failure_11_a_spot_wave_is_not_read_as_low_load() -> None:
    policy, busy = fleet(), {host(number): 2 for number in (1, 2, 3, 4)}
    before = sighting(4, *(worker(number) for number in (1, 2, 3, 4)))
    after = sighting(
        4,
        worker(1),
        worker(2),
        *(worker(number, Phase.STOPPED, stop_code="SpotInterruption") for number in (3, 4)),
        *(worker(number, Phase.PENDING) for number in (5, 6)),
    )
    losses = Losses()
    losses.count(before, assess(policy, before, reading(0, busy).of(["heavy"]), now=NOON))

    # Airflow shows the lost tasks as running for five minutes: they will need their slots again.
    got = decide(policy, after, reading(0, busy), Memory(), now=NOON)

    assert got.numbers.desired_after == 4
    assert not any(isinstance(step, Unprotect) for step in got.steps)
    assert got.numbers.demand_tasks == 8
    deaths = losses.count(after, got.occupancy)
    assert [(death.cause, death.tasks) for death in deaths] == [(Cause.SPOT, 2)] * 2


def test_failure_13_tasks_that_die_with_the_execution_api_and_come_back_as_retries_move_nothing() -> None:
    policy = fleet(scale_in_window=timedelta(minutes=2))
    seen = sighting(3, worker(1), worker(2), worker(3))
    busy = {host(number): 2 for number in (1, 2, 3)}
    all_busy = [reading(0, busy, at=NOON + A_TICK * n) for n in range(15)]
    nothing = [reading(at=NOON + A_TICK * n) for n in range(15, 24)]
    retried = [reading(6, at=NOON + A_TICK * 24)]

    decisions = ticks(policy, seen, *all_busy, *nothing, *retried)

    assert {got.numbers.desired_after for got in decisions} == {3}


@pytest.mark.parametrize("skew", [timedelta(seconds=-40), timedelta(seconds=40)])
def test_failure_14_a_small_skew_of_the_clocks_changes_nothing_a_large_one_holds(skew: timedelta) -> None:
    seen = sighting(1, worker(1))
    read = reading(5, at=NOON + skew)

    assert decide(fleet(), seen, read, Memory(), now=NOON).numbers.desired_after == 3
    wrong = replace(read, taken_at=NOON + skew * 100)
    held = decide(fleet(), seen, wrong, Memory(), now=NOON)
    assert (held.why, held.numbers.desired_after) == (Why.STALE_READING, 1)


def test_failure_14_the_window_is_measured_by_the_clock_of_the_database_alone() -> None:
    policy = fleet(scale_in_window=timedelta(seconds=60))
    seen, memory = sighting(1, worker(1)), Memory()
    for second in (0, 30, 59):
        read = reading(at=NOON + timedelta(seconds=second))
        got = decide(policy, seen, read, memory, now=NOON + timedelta(seconds=second + 8))
        memory = got.memory
        assert got.why is Why.WINDOW


def test_failure_17_new_demand_beats_a_half_finished_drain() -> None:
    leaving = worker(1, Phase.LEAVING)
    exposed = worker(2, protected=False)
    memory = Memory(releasing=frozenset({arn(2)}))

    got = decide(fleet(), sighting(0, leaving, exposed), reading(4), memory, now=NOON)

    assert not lowers(got)
    assert got.numbers.desired_after == 2
    assert got.memory.releasing == frozenset()
