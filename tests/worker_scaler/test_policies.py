"""Policies that follow no queue: a floor that is never left, a schedule that knows holidays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from sidecar.testing.plugin import Finished
from worker_scaler.decision import Why
from worker_scaler.fleet_settings import FleetSettings
from worker_scaler.freeze import Freeze
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet
from worker_scaler.outlook import NOTHING_EXPECTED
from worker_scaler.policies import Case, Policy
from worker_scaler.policies.floor import FloorPolicy
from worker_scaler.policies.schedule import Hours, SchedulePolicy, parse_days
from worker_scaler.steps import SetDesired

from .fakes import NOON, fleet, sighting

SAO_PAULO = "America/Sao_Paulo"
WEB: dict[str, Any] = {
    "name": "web",
    "cluster": "main",
    "service": "ui",
    "policy": "schedule",
    "max_workers": 2,
    "hours": [
        {
            "days": "mon-fri",
            "from": "08:00",
            "to": "22:00",
            "time_zone": SAO_PAULO,
            "workers": 1,
            "holidays": "BR",
        }
    ],
}


def case(policy: Fleet, desired: int, *, now: datetime = NOON, is_paused: bool = False) -> Case:
    return Case(
        fleet=policy,
        sighting=sighting(desired),
        reading=None,
        memory=Memory(),
        outlook=NOTHING_EXPECTED,
        now=now,
        is_paused=is_paused,
        chance=0.5,
    )


def count(policy: Policy, desired: int, *, now: datetime, given_fleet: Fleet | None = None) -> int:
    """The count after one decision."""
    got = policy.decide(case(given_fleet or fleet(queues=(), max_workers=2), desired, now=now))
    return got.numbers.desired_after


def local(text: str, zone: str = SAO_PAULO) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


# ---------------------------------------------------------------- floor


@given(st.integers(0, 9), st.integers(1, 5))
def test_a_floor_is_repaired_and_never_lowers_a_count(desired: int, floor: int) -> None:
    got = FloorPolicy().decide(case(fleet(queues=(), min_workers=floor), desired))

    if desired < floor:
        assert got.steps == (SetDesired(count=floor, before=desired),)
        assert got.why is Why.FLOOR
    else:
        assert (got.steps, got.why) == ((), Why.STEADY)


def test_a_paused_floor_is_told_and_left() -> None:
    got = FloorPolicy().decide(case(fleet(queues=(), min_workers=2), 1, is_paused=True))

    assert (got.steps, got.why) == ((), Why.PAUSED)


# ---------------------------------------------------------------- schedule


def web() -> Policy:
    return FleetSettings.model_validate(WEB).policy_object()


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        ("2026-11-23T07:59:59", 0),
        ("2026-11-23T08:00:00", 1),
        ("2026-11-23T21:59:59", 1),
        ("2026-11-23T22:00:00", 0),
        ("2026-11-22T12:00:00", 0),  # a Sunday
        ("2026-12-25T12:00:00", 0),  # a Friday, and Christmas
    ],
)
def test_a_web_server_is_there_from_eight_to_ten_on_working_days(at: str, wanted: int) -> None:
    assert count(web(), 1 - wanted, now=local(at)) == wanted


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = Hours(days=parse_days("fri"), begins=time(22), ends=time(6), time_zone=SAO_PAULO, workers=1)

    assert night.contains(local("2026-11-28T05:59:00"))
    assert not night.contains(local("2026-11-27T05:59:00"))


def test_a_day_that_is_closed_does_not_begin_its_window() -> None:
    night = Hours(
        days=parse_days("mon-sun"),
        begins=time(22),
        ends=time(6),
        time_zone=SAO_PAULO,
        workers=1,
        closed_on=frozenset({date(2026, 11, 27)}),
    )

    assert not night.contains(local("2026-11-28T05:00:00"))
    assert night.contains(local("2026-11-27T05:00:00"))


@pytest.mark.parametrize("day", ["2026-03-28", "2026-03-29", "2026-10-25"])  # Berlin changes on the last two
def test_eight_is_eight_on_both_sides_of_a_change_of_the_clocks(day: str) -> None:
    hours = Hours(
        days=parse_days("mon-sun"), begins=time(8), ends=time(22), time_zone="Europe/Berlin", workers=1
    )

    assert not hours.contains(local(f"{day}T07:59:59", "Europe/Berlin"))
    assert hours.contains(local(f"{day}T08:00:00", "Europe/Berlin"))
    assert hours.contains(local(f"{day}T21:59:59", "Europe/Berlin"))


def test_of_an_hour_that_comes_twice_the_first_begins_and_the_last_ends() -> None:
    def hours(begins: time, ends: time) -> Hours:
        return Hours(days=parse_days("sun"), begins=begins, ends=ends, time_zone="Europe/Berlin", workers=1)

    first_half_past_two = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    second_half_past_two = first_half_past_two + timedelta(hours=1)
    assert hours(time(2, 30), time(4)).contains(first_half_past_two)
    assert hours(time(1), time(2, 30)).contains(second_half_past_two - timedelta(seconds=1))
    assert not hours(time(1), time(2, 30)).contains(second_half_past_two)


def test_the_highest_open_window_wins_within_the_limits() -> None:
    policy = SchedulePolicy(
        hours=[
            Hours(days=parse_days("mon-sun"), begins=time(0), ends=time(23), time_zone="UTC", workers=count)
            for count in (1, 9)
        ]
    )

    assert count(policy, 0, now=NOON, given_fleet=fleet(queues=(), max_workers=3)) == 3


def test_a_freeze_keeps_a_schedule_from_lowering() -> None:
    frozen = fleet(
        queues=(), freezes=(Freeze(cron="0 0 * * *", time_zone="UTC", duration=timedelta(hours=24)),)
    )

    got = SchedulePolicy(hours=[]).decide(case(frozen, 2))

    assert (got.steps, got.why) == ((), Why.FROZEN)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policy": "wake"}, "is not built yet"),
        ({"queues": ["heavy"]}, "needs 'queue'"),
        ({"hours": []}, "at least one window"),
        ({"policy": "floor", "hours": []}, "floor of at least 1"),
        ({"policy": "queue", "hours": []}, "needs at least one"),
        ({"hours": [WEB["hours"][0] | {"days": "mon-fry"}]}, "'fry' is no weekday"),
        ({"hours": [WEB["hours"][0] | {"time_zone": "America/Nowhere"}]}, "no IANA time zone"),
        ({"hours": [WEB["hours"][0] | {"holidays": "XX"}]}, "no holidays are known of 'XX'"),
        ({"freezes": [{"cron": "every day", "minutes": 5}]}, "is no cron expression"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_with_the_way_out(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="Value error") as caught:
        FleetSettings.model_validate(WEB | change)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "days"),
    [("mon-fri", {0, 1, 2, 3, 4}), ("sat,sun", {5, 6}), ("fri-mon", {4, 5, 6, 0}), ("wed", {2})],
)
def test_days_are_read_as_people_write_them(text: str, days: set[int]) -> None:
    assert parse_days(text) == days


def test_the_fleets_that_the_readme_shows_can_be_given_and_are_shown_again(
    run_sidecar: Callable[..., Finished],
) -> None:
    readme = Path(__file__).parents[2] / "services/worker_scaler/README.md"
    (shown,) = re.findall(r"```json\n(\[\{\"name\": \"web\".*?\])\n```", readme.read_text(), re.DOTALL)

    done = run_sidecar(
        "worker_scaler",
        "settings",
        settings={
            "WORKER_SCALER_FLEETS": shown,
            "WORKER_SCALER_DATABASE_URL": "postgresql://u:pw@127.0.0.1/airflow",
        },
    )

    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("WORKER_SCALER_FLEETS=")]
    (web, *_others) = json.loads(line.partition("=")[2])
    assert (web["policy"], web["hours"][0]["from"]) == ("schedule", "08:00:00")
