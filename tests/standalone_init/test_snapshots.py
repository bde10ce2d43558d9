"""The snapshot of an upgrade: named by AWS's rules, asked for once, never an earlier upgrade's."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, strategies as st

from sidecar.clock import Stop, SystemClock
from sidecar.testing.fake_clock import FakeClock
from standalone_init.errors import AwsRefused, SnapshotImpossible, TryAgain
from standalone_init.snapshots import memory
from standalone_init.snapshots.model import (
    TAG,
    Kind,
    Remembered,
    Source,
    Upgrade,
    is_name,
    is_reusable,
    name_of,
)
from standalone_init.snapshots.ports import Quota, Snapshot
from standalone_init.snapshots.taking import Patience, Taker

from .fake_aws import AN_HOUR_AGO, FakeRds, Killed, Mortality

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AIRFLOW = Source.of("rds:airflow")
UPGRADE = Upgrade(from_revisions=frozenset({"aaaa00000001"}), to_revisions=frozenset({"aaaa00000004"}))
FURTHER = replace(UPGRADE, from_revisions=frozenset({"aaaa00000002"}))
EARLIER = Remembered(
    name="earlier",
    source="rds:airflow",
    resource_id="db-1",
    upgrade=UPGRADE,
    requested=NOON - timedelta(days=1),
    had_stopped=True,
)


def test_the_name_says_what_is_in_it() -> None:
    assert name_of(AIRFLOW, UPGRADE, NOON) == "airflow-ecs-airflow-aaaa00000001-aaaa00000004-202611231200"


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert name_of(AIRFLOW, UPGRADE, NOON, number=2).endswith("-202611231200-2")


identifiers = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True).filter(
    lambda name: len(name) < 64
)
revisions = st.frozensets(st.text(max_size=40), max_size=2)


@given(st.sampled_from(Kind), identifiers, revisions, revisions, st.integers(1, 99))
def test_every_name_is_one_that_aws_takes(
    kind: Kind, identifier: str, begin: frozenset[str], end: frozenset[str], number: int
) -> None:
    source = Source(kind=kind, identifier=identifier)

    name = name_of(source, Upgrade(from_revisions=begin, to_revisions=end), NOON, number=number)

    assert is_name(kind, name), name


@pytest.mark.parametrize("text", ["airflow", "rds:", "aurora:a--b", "rds:-a", "mysql:x", "rds:a b"])
def test_what_names_no_database_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is "):
        Source.of(text)


@pytest.mark.parametrize(
    ("what", "change", "upgrade", "are_stopped", "is_taken"),
    [
        ("the writers are stopped since", {}, UPGRADE, True, True),
        ("somebody may have written since", {}, UPGRADE, False, False),
        ("nobody was stopped then", {"had_stopped": False}, UPGRADE, True, False),
        ("it was asked for just now", {"requested": NOON - timedelta(minutes=5)}, UPGRADE, False, True),
        ("the migration has moved: it is the only way back", {}, FURTHER, False, True),
        ("its upgrade has ended", {"is_closed": True}, FURTHER, True, False),
        ("the database was restored from it", {"resource_id": "db-2"}, UPGRADE, True, False),
        ("another instance", {"source": "rds:other"}, UPGRADE, True, False),
        (
            "another goal",
            {"upgrade": replace(UPGRADE, to_revisions=frozenset({"bbbb"}))},
            UPGRADE,
            True,
            False,
        ),
    ],
)
def test_an_earlier_snapshot_is_taken_for_this_try_only_when_nothing_is_missing_in_it(
    what: str, change: dict[str, Any], upgrade: Upgrade, are_stopped: bool, is_taken: bool
) -> None:
    found = is_reusable(
        replace(EARLIER, **change),
        source=AIRFLOW,
        resource_id="db-1",
        upgrade=upgrade,
        are_writers_stopped=are_stopped,
        now=NOON,
    )

    assert found is is_taken, what


@dataclass
class Heard:
    """Remembers what was told."""

    requested: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    percents: list[int] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)

    def snapshot_requested(self, name: str) -> None:
        self.requested.append(name)

    def snapshot_found(self, name: str) -> None:
        self.found.append(name)

    def snapshot_progress(self, name: str, status: str, percent: int) -> None:
        del name, status
        self.percents.append(percent)

    def snapshot_removed(self, name: str) -> None:
        self.removed.append(name)

    def source_not_ready(self, source: str, status: str) -> None:
        del source
        self.statuses.append(status)


class PassingStop(Stop):
    """Waits pass at once, and move a clock that the test owns."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def wait_in_thread(self, seconds: float) -> bool:
        self._clock.advance(seconds)
        return self.requested


@dataclass
class World:
    """An RDS instance and a real database."""

    connection: psycopg.Connection[Any]
    rds: FakeRds = field(default_factory=FakeRds)
    heard: Heard = field(default_factory=Heard)
    clock: FakeClock = field(default_factory=FakeClock)

    def taker(self, *, kept: int | None = None, snapshot_seconds: float = 3600 * 6) -> Taker:
        self.rds.mortality = Mortality()
        return Taker(
            AIRFLOW,
            self.rds,
            patience=Patience(ready_seconds=600, snapshot_seconds=snapshot_seconds),
            kept=kept,
            airflow_version="3.3.99",
            clock=self.clock,
            stop=PassingStop(self.clock),
            rng=random.Random(1),  # noqa: S311 - jitter
            tell=self.heard,
        )

    def take(self, taker: Taker | None = None, *, upgrade: Upgrade = UPGRADE, again: bool = False) -> str:
        return (taker or self.taker()).take(
            self.connection, upgrade, were_writers_stopped=again, are_writers_stopped=True
        )


@pytest.fixture
def world(database: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        yield World(connection)


@pytest.mark.integration
def test_a_snapshot_of_five_hours_is_waited_for_and_its_progress_told(world: World) -> None:
    world.rds.progress = [("creating", number // 6) for number in range(600)] + [("available", 100)]
    started = world.clock.monotonic()

    name = world.take()

    assert world.clock.monotonic() - started > 3 * 3600
    assert world.heard.percents == [*range(101)]
    assert world.rds.created == [name]


@pytest.mark.integration
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_kill_around_the_request_leads_to_one_snapshot(world: World, is_after: bool) -> None:
    dying = world.taker()
    world.rds.mortality = Mortality(left=0, is_after=is_after)
    with pytest.raises(Killed):
        world.take(dying)

    name = world.take(again=True)

    assert world.rds.created == [name]
    assert bool(world.heard.found) is is_after


@pytest.mark.integration
def test_a_try_that_ran_out_of_time_goes_on_with_the_same_snapshot(world: World) -> None:
    world.rds.progress = [("creating", 40)]
    with pytest.raises(TryAgain, match="is at 40 %"):
        world.take(world.taker(snapshot_seconds=60))
    world.rds.progress = [("available", 100)]

    world.take(again=True)

    assert len(world.rds.created) == 1


@pytest.mark.integration
def test_an_interrupted_migration_keeps_the_snapshot_from_before_it(world: World) -> None:
    first = world.take()

    assert world.take(upgrade=FURTHER, again=True) == first


@pytest.mark.integration
def test_the_same_upgrade_once_more_gets_a_snapshot_of_its_own(world: World) -> None:
    first = world.take()
    memory.close(world.connection, why="the upgrade was verified")

    second = world.take(again=True)

    assert second != first
    assert world.rds.created == [first, second]


@pytest.mark.integration
def test_a_restored_database_gets_a_snapshot_of_its_own(world: World) -> None:
    first = world.take()
    world.rds.resource_id = "db-2"

    assert world.take(again=True) != first


@pytest.mark.integration
def test_a_failed_snapshot_is_said_and_the_next_try_asks_for_another(world: World) -> None:
    world.rds.progress = [("creating", 0), ("failed", 0)]
    with pytest.raises(SnapshotImpossible, match="is failed"):
        world.take()
    world.rds.progress = [("available", 100)]

    world.take(again=True)

    assert len(world.rds.created) == 2


@pytest.mark.integration
def test_an_instance_that_is_busy_is_waited_for(world: World) -> None:
    world.rds.statuses = ["backing-up", "backing-up", "modifying", "available"]

    world.taker().prepare(world.connection, UPGRADE, were_writers_stopped=False)

    assert world.heard.statuses == ["backing-up", "modifying"]
    assert world.rds.created == []


@pytest.mark.integration
def test_an_instance_that_stays_busy_is_not_now(world: World) -> None:
    world.rds.statuses = ["modifying"]

    with pytest.raises(TryAgain, match="rds:airflow is not available, but 'modifying'"):
        world.taker().prepare(world.connection, UPGRADE, were_writers_stopped=False)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("status", "error"),
    [("inaccessible-encryption-credentials", AwsRefused), ("stopped", SnapshotImpossible)],
)
def test_what_cannot_be_snapshot_is_refused_before_anything_is_touched(
    world: World, status: str, error: type[Exception]
) -> None:
    world.rds.statuses = [status]

    with pytest.raises(error):
        world.taker().prepare(world.connection, UPGRADE, were_writers_stopped=False)

    assert memory.recall(world.connection) == ()


def a_snapshot(name: str, *, days_ago: int, **tags: str) -> Snapshot:
    created = AN_HOUR_AGO - timedelta(days=days_ago)
    return Snapshot(
        name=name, status="available", percent=100, made_from="airflow", created=created, tags=tags
    )


@pytest.mark.integration
def test_a_reached_quota_is_said_before_anything_is_touched(world: World) -> None:
    world.rds.allowed = Quota(used=0, allowed=2)
    world.rds.snapshots = {name: a_snapshot(name, days_ago=9) for name in ("theirs-1", "theirs-2")}

    with pytest.raises(SnapshotImpossible, match="2 of 2 manual snapshots are there"):
        world.taker(kept=1).prepare(world.connection, UPGRADE, were_writers_stopped=False)

    assert len(world.rds.snapshots) == 2


@pytest.mark.integration
def test_room_is_made_among_our_own_snapshots_when_that_is_allowed(world: World) -> None:
    world.rds.allowed = Quota(used=0, allowed=3)
    ours = {
        name: a_snapshot(name, days_ago=ago, **{TAG: ""}) for name, ago in {"old": 9, "older": 20}.items()
    }
    world.rds.snapshots = {"theirs": a_snapshot("theirs", days_ago=99), **ours}

    world.taker(kept=1).prepare(world.connection, UPGRADE, were_writers_stopped=False)

    assert set(world.rds.snapshots) == {"theirs", "old"}


@pytest.mark.integration
def test_the_newest_of_ours_are_kept_and_others_never_touched(world: World) -> None:
    name = world.take()
    ours = {str(ago): a_snapshot(str(ago), days_ago=ago, **{TAG: ""}) for ago in (1, 5, 9)}
    world.rds.snapshots |= ours | {"theirs": a_snapshot("theirs", days_ago=99)}

    world.taker(kept=2).remove_old(keep=name)

    assert set(world.rds.snapshots) == {name, "1", "theirs"}
    assert world.heard.removed == ["5", "9"]


@pytest.mark.integration
def test_nothing_is_removed_unless_asked(world: World) -> None:
    name = world.take()
    world.rds.snapshots |= {"1": a_snapshot("1", days_ago=1, **{TAG: ""})}

    world.taker().remove_old(keep=name)

    assert set(world.rds.snapshots) == {name, "1"}


@pytest.mark.integration
def test_the_order_to_stop_ends_the_wait(world: World) -> None:
    world.rds.progress = [("creating", 1)]
    stop = Stop()
    stop.request("SIGTERM")
    taker = Taker(
        AIRFLOW,
        world.rds,
        patience=Patience(ready_seconds=600, snapshot_seconds=600),
        kept=None,
        airflow_version="",
        clock=SystemClock(),
        stop=stop,
        rng=random.Random(1),  # noqa: S311 - jitter
        tell=world.heard,
    )

    with pytest.raises(TryAgain, match="goes on with the same snapshot"):
        world.take(taker)
