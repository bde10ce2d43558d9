"""The plan of an upgrade: writers stop first and start last, and any interruption leads to the same end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from sidecar.testing.replay import run_every_prefix
from standalone_init.plan import (
    Migrate,
    Observation,
    StartWriters,
    Step,
    StopWriters,
    TakeSnapshot,
    Wanted,
    plan,
)
from standalone_init.revisions import Chain
from standalone_init.snapshots.model import Source
from standalone_init.state import DatabaseState, Image, StateClass
from standalone_init.writers.model import Memory, Service

CORE = Chain(parents={"c1": (), "c2": ("c1",)})
IMAGE = Image(airflow_version="3.3.0", core=CORE)
SCHEDULER = Service(cluster="main", service="scheduler")
WORKERS = Service(cluster="main", service="workers")
GOAL = Wanted(writers=(SCHEDULER, WORKERS), snapshot=Source.of("rds:airflow"))
BEHIND = DatabaseState(
    name=StateClass.BEHIND,
    why="a revision is missing",
    revisions=frozenset({"c1"}),
    heads=CORE.heads,
    pending=1,
    position="alembic_version=c1",
)
CURRENT = replace(BEHIND, name=StateClass.CURRENT, revisions=CORE.heads, position="alembic_version=c2")
EMPTY = replace(BEHIND, name=StateClass.EMPTY, revisions=frozenset(), position="")
REMEMBERED = (Memory(service=SCHEDULER, desired=2), Memory(service=WORKERS, desired=3))


def names(steps: Sequence[Step]) -> list[str]:
    return [step.name for step in steps]


def test_writers_stop_before_the_snapshot_and_start_after_everything_else() -> None:
    observation = Observation(image=IMAGE, database=BEHIND, absent_secrets=("jwt_secret",), needs_canary=True)

    assert names(plan(observation, GOAL)) == [
        "ensure_secret",
        "stop_writers",
        "take_snapshot",
        "migrate",
        "write_canary",
        "start_writers",
    ]


@pytest.mark.parametrize("state", [EMPTY, CURRENT], ids=lambda state: state.name)
def test_nobody_is_stopped_when_nothing_is_upgraded(state: DatabaseState) -> None:
    steps = plan(Observation(image=IMAGE, database=state), GOAL)

    assert not [step for step in steps if isinstance(step, StopWriters | TakeSnapshot | StartWriters)]


def test_what_a_killed_run_left_stopped_is_started_when_nothing_else_is_left() -> None:
    observation = Observation(image=IMAGE, database=CURRENT, remembered=REMEMBERED)

    assert plan(observation, Wanted()) == [StartWriters(services=(SCHEDULER, WORKERS))]


def test_a_snapshot_knows_whether_anybody_could_write_since_the_last_try() -> None:
    again = Observation(image=IMAGE, database=BEHIND, remembered=REMEMBERED, are_writers_stopped=True)

    for observation, were_stopped in ((replace(again, are_writers_stopped=False), False), (again, True)):
        (snapshot,) = [step for step in plan(observation, GOAL) if isinstance(step, TakeSnapshot)]
        assert snapshot.were_writers_stopped is were_stopped
        assert snapshot.are_writers_stopped


@dataclass
class World:
    """A deployment in memory."""

    state: DatabaseState = BEHIND
    remembered: tuple[Memory, ...] = ()
    counts: dict[Service, int] = field(default_factory=lambda: {SCHEDULER: 2, WORKERS: 3})
    snapshots: list[str] = field(default_factory=list)

    def plan(self) -> Sequence[Step]:
        return plan(
            Observation(
                image=IMAGE,
                database=self.state,
                remembered=self.remembered,
                are_writers_stopped=bool(self.remembered),
            ),
            GOAL,
        )

    def perform(self, step: Step) -> None:
        match step:
            case StopWriters():
                counts = self.counts.items()
                self.remembered = self.remembered or tuple(
                    Memory(service=service, desired=count) for service, count in counts
                )
                self.counts = dict.fromkeys(self.counts, 0)
            case TakeSnapshot(upgrade=upgrade):
                assert set(self.counts.values()) == {0}
                self.snapshots.append(min(upgrade.from_revisions))
            case Migrate():
                assert set(self.counts.values()) == {0}
                assert self.snapshots
                self.state = CURRENT
            case StartWriters():
                assert self.state is CURRENT
                self.counts = {memory.service: memory.desired for memory in self.remembered}
                self.remembered = ()


def test_an_upgrade_interrupted_after_any_step_ends_with_the_writers_as_they_were() -> None:
    def is_goal(world: World) -> None:
        assert world.plan() == []
        assert world.counts == {SCHEDULER: 2, WORKERS: 3}

    def holds(world: World) -> None:
        assert world.state is CURRENT or set(world.counts.values()) == {0} or not world.remembered

    prefixes = run_every_prefix(
        start=World, plan=World.plan, apply=World.perform, holds=holds, is_goal=is_goal
    )

    assert prefixes == 5
