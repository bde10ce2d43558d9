"""Writers are remembered before anything is touched, and as before after a kill at any instant."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from sidecar.clock import Stop, SystemClock
from sidecar.errors import ConfigError
from standalone_init.errors import TryAgain
from standalone_init.writers import memory as rows
from standalone_init.writers.model import (
    ALL_SUSPENDED,
    Memory,
    Remaining,
    Service,
    Suspended,
    may_start,
    memory_of,
)
from standalone_init.writers.sessions import Session, sessions
from standalone_init.writers.writers import Writers

from .fake_aws import FakeEcs, FakeScaling, Killed, Mortality

pytestmark = pytest.mark.integration

SCALER = Service(cluster="main", service="worker-scaler")
SCHEDULER = Service(cluster="main", service="scheduler")
WORKERS = Service(cluster="main", service="workers")
ALL = (SCALER, SCHEDULER, WORKERS)
COUNTS = {SCALER: 1, SCHEDULER: 2, WORKERS: 7}
NIGHTLY = Suspended(dynamic_in=False, dynamic_out=False, scheduled=True)
AT = "alembic_version=aaaa00000001"


@dataclass
class Heard:
    """Remembers what was told."""

    stopped: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    drained: list[Sequence[Remaining]] = field(default_factory=list)
    connected: list[Session] = field(default_factory=list)

    def writer_stopped(self, memory: Memory) -> None:
        self.stopped.append(memory.service.service)

    def writer_started(self, memory: Memory, *, found: int | None) -> None:
        del found
        self.started.append(memory.service.service)

    def draining(self, remaining: Sequence[Remaining], waited_seconds: float) -> None:
        del waited_seconds
        self.drained.append(remaining)

    def still_connected(self, sessions: Sequence[Session]) -> None:
        self.connected.extend(sessions)


@dataclass
class World:
    """A deployment of three services, one of them scaled automatically, and a real database."""

    connection: psycopg.Connection[Any]
    ecs: FakeEcs = field(default_factory=lambda: FakeEcs(dict(COUNTS)))
    scaling: FakeScaling = field(default_factory=lambda: FakeScaling({WORKERS: NIGHTLY}))
    heard: Heard = field(default_factory=Heard)
    stop: Stop = field(default_factory=Stop)

    def writers(self, *, drain_seconds: float = 30, mortality: Mortality | None = None) -> Writers:
        self.ecs.mortality = self.scaling.mortality = mortality or Mortality()
        return Writers(
            ALL,
            ecs=self.ecs,
            scaling=self.scaling,
            drain_seconds=drain_seconds,
            sessions=lambda: sessions(self.connection),
            clock=SystemClock(),
            stop=self.stop,
            rng=random.Random(1),  # noqa: S311 - jitter
            tell=self.heard,
        )

    def assert_as_before(self) -> None:
        assert self.ecs.desired == COUNTS
        assert self.scaling.suspended == {WORKERS: NIGHTLY}
        assert self.ecs.tags == {}
        assert rows.recall(self.connection) == ()


@pytest.fixture
def world(database: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        yield World(connection)


def test_writers_are_stopped_in_order_and_started_in_the_other_as_they_were(world: World) -> None:
    world.writers().stop(world.connection, position=AT)

    assert set(world.ecs.desired.values()) == {0}
    assert world.scaling.suspended == {WORKERS: ALL_SUSPENDED}
    assert world.heard.stopped == ["worker-scaler", "scheduler", "workers"]

    world.writers().start(world.connection)

    world.assert_as_before()
    assert world.heard.started == ["workers", "scheduler", "worker-scaler"]


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_kill_around_any_change_loses_no_count(world: World, is_after: bool) -> None:
    def whole(mortality: Mortality) -> None:
        writers = world.writers(mortality=mortality)
        writers.stop(world.connection, position=AT)
        writers.start(world.connection)

    counting = Mortality()
    whole(counting)
    assert counting.changes == 14  # three tags, four to stop, four to start, three tags off

    for at in range(counting.changes):
        with pytest.raises(Killed):
            whole(Mortality(left=at, is_after=is_after))

        whole(Mortality())

        world.assert_as_before()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_after_a_kill_around_any_change_starting_alone_is_enough(world: World, is_after: bool) -> None:
    for at in range(14):
        writers = world.writers(mortality=Mortality(left=at, is_after=is_after))
        with pytest.raises(Killed):  # noqa: PT012 - the kill may come in either
            writers.stop(world.connection, position=AT)
            writers.start(world.connection)

        world.writers().start(world.connection)

        world.assert_as_before()


def test_a_second_stop_does_not_remember_zero(world: World) -> None:
    world.writers().stop(world.connection, position=AT)
    world.writers().stop(world.connection, position="alembic_version=later")

    remembered = world.writers().remembered(world.connection)

    assert {memory.service: memory.desired for memory in remembered} == COUNTS
    assert {memory.position for memory in remembered} == {AT}


@pytest.mark.parametrize("lost", ["rows", "tags"])
def test_either_memory_is_enough(world: World, lost: str) -> None:
    world.writers().stop(world.connection, position=AT)
    if lost == "rows":
        world.connection.execute("DROP TABLE airflow_ecs.init_writer")
    else:
        world.ecs.tags.clear()

    world.writers().start(world.connection)

    world.assert_as_before()


def test_a_service_that_somebody_started_keeps_what_it_was_given(world: World) -> None:
    world.writers().stop(world.connection, position=AT)
    world.ecs.desired[WORKERS] = 3

    world.writers().start(world.connection)

    assert world.ecs.desired == {**COUNTS, WORKERS: 3}


def test_a_service_that_was_removed_meanwhile_is_forgotten(world: World) -> None:
    world.writers().stop(world.connection, position=AT)
    del world.ecs.desired[WORKERS]
    world.ecs.tags.pop("arn:main/workers")
    left = Writers(
        (SCALER, SCHEDULER),
        ecs=world.ecs,
        scaling=world.scaling,
        drain_seconds=1,
        sessions=tuple,
        clock=SystemClock(),
        stop=Stop(),
        rng=random.Random(1),  # noqa: S311 - jitter
        tell=world.heard,
    )

    left.start(world.connection)

    assert world.ecs.desired == {SCALER: 1, SCHEDULER: 2}
    assert rows.recall(world.connection) == ()


def test_a_service_that_does_not_exist_is_refused_before_any_is_touched(world: World) -> None:
    del world.ecs.desired[WORKERS]

    with pytest.raises(ConfigError, match="no active ECS service main/workers"):
        world.writers().stop(world.connection, position=AT)

    assert world.ecs.desired == {SCALER: 1, SCHEDULER: 2}
    assert world.ecs.tags == {}


def test_tasks_that_do_not_end_are_named_with_who_is_connected(world: World, database: str) -> None:
    world.ecs.stubborn = (
        Remaining(service=WORKERS, task_id="abc123", status="DEACTIVATING", address="10.0.0.9"),
    )

    with (
        psycopg.connect(database, application_name="celery"),
        pytest.raises(TryAgain) as failed,
    ):
        world.writers(drain_seconds=0).stop(world.connection, position=AT)

    assert "main/workers task abc123 DEACTIVATING at 10.0.0.9" in failed.value.why
    assert "1 x celery from 127.0.0.1" in failed.value.why


def test_who_is_connected_when_all_have_ended_is_told(world: World, database: str) -> None:
    with (
        psycopg.connect(database, application_name="a notebook"),
        psycopg.connect(database, application_name="standalone-init@here"),
    ):
        world.writers().stop(world.connection, position=AT)

    assert [str(session) for session in world.heard.connected] == ["1 x a notebook from 127.0.0.1"]


def test_somebody_who_starts_them_again_is_noticed(world: World) -> None:
    class Restarting(FakeEcs):
        def set_desired(self, service: Service, count: int) -> None:
            super().set_desired(service, 2 if service == SCHEDULER else count)

    world.ecs = Restarting(dict(COUNTS))

    with pytest.raises(TryAgain, match=r"main/scheduler was set from 0 to 2\. Pause what sets that count"):
        world.writers().stop(world.connection, position=AT)


def test_the_order_to_stop_ends_the_wait(world: World) -> None:
    world.ecs.stubborn = (Remaining(service=WORKERS, task_id="abc123", status="RUNNING"),)
    world.stop.request("SIGTERM")

    with pytest.raises(TryAgain, match="SIGTERM was received; main/workers task abc123 RUNNING"):
        world.writers().stop(world.connection, position=AT)


@pytest.mark.parametrize(
    ("is_at_head", "position", "may"),
    [(True, "x=head", True), (False, AT, True), (False, "x=between", False), (False, "", False)],
)
def test_writers_work_where_they_were_stopped_and_at_the_head_only(
    is_at_head: bool, position: str, may: bool
) -> None:
    remembered = [Memory(service=service, desired=1, position=AT) for service in ALL]

    assert may_start(remembered, is_at_head=is_at_head, position=position) is may


def test_a_memory_without_a_position_may_start_at_the_head_only() -> None:
    remembered = [Memory(service=WORKERS, desired=1)]

    assert not may_start(remembered, is_at_head=False, position="")
    assert may_start(remembered, is_at_head=True, position="")


@pytest.mark.parametrize("suspended", [None, NIGHTLY, ALL_SUSPENDED, Suspended.of("nothing")])
def test_tags_remember_what_rows_do(suspended: Suspended | None) -> None:
    memory = Memory(service=WORKERS, desired=7, suspended=suspended, position=AT)

    assert memory_of(WORKERS, memory.tags()) == memory


@pytest.mark.parametrize("count", ["", "many", "-1", "²"])
def test_a_tag_without_a_count_remembers_nothing(count: str) -> None:
    assert memory_of(WORKERS, {"airflow-ecs:desired-count": count}) is None
