"""What holds a count: freezes, pauses, step limits, doubt, an incomplete reading. Busy workers come first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker_scaler.decide import decide
from worker_scaler.decision import Decision, Why
from worker_scaler.freeze import Freeze
from worker_scaler.limits import Limits, Pool
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, QueueDepth, Reading, Sighting
from worker_scaler.outlook import Outlook
from worker_scaler.pause import PauseSwitch
from worker_scaler.steps import Protect, SetDesired

from .fakes import NOON, fleet, host, reading, sighting, worker

ALL_DAY = Freeze(cron="0 0 * * *", time_zone="UTC", duration=timedelta(hours=24))
ALL_DAY_ALL = Freeze(cron="0 0 * * *", time_zone="UTC", duration=timedelta(hours=24), also_out=True)


def decided(policy: Fleet, look: Sighting, read: Reading, **more: Any) -> Decision:
    return decide(policy, look, read, Memory(), now=NOON, **more)


# ---------------------------------------------------------------- freezes


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-23T10:59:59", False),
        ("2026-11-23T11:00:00", True),  # 08:00 in São Paulo
        ("2026-11-23T12:59:59", True),
        ("2026-11-23T13:00:01", False),
    ],
)
def test_a_freeze_begins_by_cron_in_its_time_zone_and_lasts(at: str, is_open: bool) -> None:
    freeze = Freeze(cron="0 8 * * 1-5", time_zone="America/Sao_Paulo", duration=timedelta(hours=2))

    assert freeze.contains(datetime.fromisoformat(at).replace(tzinfo=UTC)) is is_open


def test_a_freeze_lets_a_fleet_grow_and_not_shrink() -> None:
    policy = fleet(freezes=(ALL_DAY,))

    assert decided(policy, sighting(0), reading(3)).numbers.desired_after == 2
    held = decided(policy, sighting(1, worker(1)), reading())
    assert (held.steps, held.why) == ((), Why.FROZEN)


def test_a_freeze_of_all_does_not_let_it_grow_but_repairs_what_is_busy() -> None:
    policy = fleet(freezes=(ALL_DAY, ALL_DAY_ALL))

    assert decided(policy, sighting(0), reading(3)).why is Why.FROZEN
    seen = sighting(0, worker(1))
    assert decided(policy, seen, reading(8, {host(1): 1})).numbers.desired_after == 1


# ---------------------------------------------------------------- pause


def test_a_paused_fleet_is_only_kept_protected() -> None:
    look = sighting(2, worker(1, protected=False), worker(2, protected=False))

    got = decided(fleet(), look, reading(50), is_paused=True)

    assert got.why is Why.PAUSED
    assert [type(step) for step in got.steps] == [Protect]


def test_a_file_pauses_all_or_whom_it_names_until_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "pause"
    switch = PauseSwitch(always=False, file=file)
    one, other = fleet(name="one"), fleet(name="other")

    assert not switch.covers(one)
    file.write_text("")
    assert switch.covers(one)
    file.write_text("other\n")
    assert (switch.covers(one), switch.covers(other)) == (False, True)
    file.unlink()
    assert not switch.covers(other)
    assert PauseSwitch(always=True, file=None).covers(one)


def test_a_pause_file_that_cannot_be_read_pauses_all(tmp_path: Path) -> None:
    assert PauseSwitch(always=False, file=tmp_path).covers(fleet())


# ---------------------------------------------------------------- steps


def test_without_a_limit_one_tick_goes_from_zero_straight_to_n() -> None:
    assert decided(fleet(max_workers=500), sighting(0), reading(1000)).steps == (
        SetDesired(count=500, before=0),
    )


def test_a_step_limit_bounds_a_raise_but_not_the_busy_workers() -> None:
    limited = fleet(max_step_out=3)
    assert decided(limited, sighting(0), reading(40)).numbers.desired_after == 3

    seen = sighting(1, *(worker(number) for number in range(1, 8)))
    assert decided(limited, seen, reading(40)).numbers.desired_after == 7


def test_a_step_limit_bounds_a_release() -> None:
    policy = fleet(max_step_in=1)
    seen = sighting(3, *(worker(number, protected=False) for number in (1, 2, 3)))
    memory = Memory(releasing=frozenset(one.arn for one in seen.workers))

    got = decide(policy, seen, reading(), memory, now=NOON)

    assert got.steps[-1] == SetDesired(count=2, before=3)


# ---------------------------------------------------------------- doubt and incompleteness


def doubted(text: str) -> Reading:
    return Reading(taken_at=NOON, queues={"heavy": QueueDepth(doubt=text)})


def test_a_doubted_fleet_keeps_its_last_worker() -> None:
    got = decided(fleet(), sighting(1, worker(1)), doubted("SQS counts 3 messages"))

    assert (got.steps, got.why) == ((), Why.ZERO_DOUBTED)
    assert got.doubt == "SQS counts 3 messages"


def test_a_doubt_starts_nobody() -> None:
    assert decided(fleet(), sighting(0), doubted("SQS counts 3 messages")).steps == ()


def test_of_an_incomplete_reading_only_more_is_believed() -> None:
    partial = Reading(taken_at=NOON, queues={"heavy": QueueDepth(queued=9)}, is_complete=False)
    nothing = Reading(taken_at=NOON, queues={}, is_complete=False)
    look = sighting(1, worker(1, protected=False))

    more = decided(fleet(), look, partial)
    assert more.numbers.desired_after == 5
    held = decided(fleet(), look, nothing)
    assert (held.why, held.numbers.desired_after) == (Why.PARTIAL_READING, 1)
    assert [type(step) for step in held.steps] == [Protect]
    assert held.memory.samples == (), "it is no sample of the window"


def test_work_of_an_executor_that_is_no_task_is_demand_and_may_be_anywhere() -> None:
    callbacks = Reading(taken_at=NOON, queues={"heavy": QueueDepth(callbacks=3)})

    assert decided(fleet(), sighting(0), callbacks).numbers.desired_after == 2
    held = decided(fleet(), sighting(3, worker(1), worker(2), worker(3)), callbacks)
    assert held.why is Why.TASKS_QUEUED


# ---------------------------------------------------------------- what is expected, and what binds


def test_expected_tasks_are_answered_before_they_are_queued() -> None:
    got = decided(fleet(), sighting(0), reading(), outlook=Outlook(lead_demand_tasks=6))

    assert (got.numbers.desired_after, got.why) == (3, Why.EXPECTED)


@pytest.mark.parametrize(
    ("limits", "scheduled", "queued", "said"),
    [
        (
            Limits(pools={"default_pool": Pool(name="default_pool", slots=128, used=128)}),
            5,
            1,
            "pool default_pool 128",
        ),
        (Limits(parallelism=64, executing=64), 5, 1, "parallelism 64"),
        (None, 0, 500, "max_workers 20"),
        (Limits(pools={"default_pool": Pool(name="default_pool", slots=-1, used=9000)}), 5, 1, None),
        (Limits(parallelism=64, executing=64), 0, 1, None),
    ],
)
def test_the_limit_that_binds_is_named(
    limits: Limits | None, scheduled: int, queued: int, said: str | None
) -> None:
    depth = QueueDepth(queued=queued, scheduled_by_pool={"default_pool": scheduled} if scheduled else {})
    read = Reading(taken_at=NOON, queues={"heavy": depth}, limits=limits)

    assert decided(fleet(), sighting(0), read).bound == said


@pytest.mark.parametrize(
    ("cron", "hours_open"),
    [
        ("30 2 * * *", 1.0),  # half past two comes twice that night, and begins once
        ("30 1 * * *", 1.0),
        ("*/30 * * * *", 4.0),  # every half hour means every one that there is
    ],
)
def test_a_freeze_begins_once_where_the_clocks_go_back(cron: str, hours_open: float) -> None:
    freeze = Freeze(cron=cron, time_zone="Europe/Berlin", duration=timedelta(hours=1))
    night = datetime(2026, 10, 24, 23, tzinfo=UTC)

    minutes = [freeze.contains(night + timedelta(minutes=minute, seconds=1)) for minute in range(240)]

    assert sum(minutes) / 60 == hours_open
