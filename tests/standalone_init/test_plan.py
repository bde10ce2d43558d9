"""The plan: ordered, only what is missing, nothing for a refused state, and whole again after any prefix."""

from __future__ import annotations

import random
import stat
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from local_cloud.postgres import Postgres
from sidecar.clock import Stop, SystemClock
from sidecar.secrets import Secret
from sidecar.testing.replay import run_every_prefix
from standalone_init.airflow_cli import AirflowCli
from standalone_init.database import AirflowDatabase
from standalone_init.errors import DatabaseAhead
from standalone_init.migration import Migration, Patience
from standalone_init.plan import (
    Admin,
    Directory,
    MakeDirectory,
    Migrate,
    Observation,
    Step,
    Wanted,
    WritePasswords,
    plan,
)
from standalone_init.reading import read
from standalone_init.revisions import Chain
from standalone_init.state import DatabaseState, Image, StateClass, classify
from standalone_init.steps import directories, passwords
from standalone_init.watch import Watch

from .fakes import REVISIONS, FakeAirflow

CORE = Chain(parents={"c1": ()})
IMAGE = Image(airflow_version="3.3.0", core=CORE)
EMPTY = DatabaseState(
    name=StateClass.EMPTY, why="no tables", revisions=frozenset(), heads=CORE.heads, pending=1
)
DAGS = Directory(path="/efs/dags", mode=0o775)
LOGS = Directory(path="/efs/logs", mode=None)
ADMIN = Admin(username="admin", users=("admin", "bob"), passwords_file="/efs/passwords")
GOAL = Wanted(directories=(DAGS, LOGS), admin=ADMIN)
NOTHING_YET = Observation(image=IMAGE, database=EMPTY)
ALL_THERE = Observation(
    image=IMAGE,
    database=replace(EMPTY, name=StateClass.CURRENT),
    directory_modes={DAGS.path: 0o775, LOGS.path: 0o700},
    users_with_password=frozenset({"admin", "bob", "somebody"}),
)


def test_the_database_comes_first_then_directories_then_people() -> None:
    steps = plan(NOTHING_YET, GOAL)

    assert [step.name for step in steps] == ["migrate", "make_directory", "make_directory", "write_passwords"]


def test_what_is_true_is_not_planned() -> None:
    assert plan(ALL_THERE, GOAL) == []


def test_a_wrong_mode_is_corrected_and_an_unsaid_mode_left_alone() -> None:
    observation = replace(ALL_THERE, directory_modes={DAGS.path: 0o700, LOGS.path: 0o700})

    assert plan(observation, GOAL) == [MakeDirectory(directory=DAGS)]


def test_only_users_without_a_password_get_one() -> None:
    observation = replace(ALL_THERE, users_with_password=frozenset({"bob"}))

    assert plan(observation, GOAL) == [WritePasswords(admin=ADMIN, users=("admin",))]


def test_a_refused_state_has_no_plan_whatever_else_is_missing() -> None:
    observation = replace(NOTHING_YET, database=replace(EMPTY, name=StateClass.AHEAD))

    with pytest.raises(DatabaseAhead):
        plan(observation, GOAL)


class Unwatched(Watch):
    """Nobody looks."""

    def __init__(self) -> None:
        self.blockers = ()

    def look(self) -> None:
        pass

    def revision(self) -> str | None:
        return None


@dataclass
class World:
    """A real database and real directories."""

    url: str
    root: Path
    airflow: AirflowCli

    @property
    def goal(self) -> Wanted:
        wanted = tuple(Directory(path=str(self.root / name), mode=0o750) for name in ("dags", "logs"))
        return Wanted(
            directories=wanted,
            admin=Admin(
                username="admin", users=("admin", "bob"), passwords_file=str(self.root / "home" / "passwords")
            ),
        )

    def observe(self) -> Observation:
        image = self.airflow.image(auth_manager="Simple")
        with psycopg.connect(self.url) as connection:
            state = classify(read(connection), image)
        assert self.goal.admin is not None
        return Observation(
            image=image,
            database=state,
            directory_modes=directories.modes(self.goal.directories),
            users_with_password=passwords.users(Path(self.goal.admin.passwords_file)),
        )

    def plan(self) -> Sequence[Step]:
        return plan(self.observe(), self.goal)

    def perform(self, step: Step) -> None:
        match step:
            case Migrate():
                migration = Migration(
                    self.airflow,
                    patience=Patience(migrate_seconds=30, ddl_lock_seconds=5, stop_seconds=5),
                    tell=lambda _line: None,
                    clock=SystemClock(),
                    stop=Stop(),
                )
                migration.run(database_url=self.url, watch=Unwatched())
            case MakeDirectory(directory=directory):
                directories.make(directory)
                directories.probe(directory)
            case WritePasswords():
                passwords.write(step, None)


@pytest.mark.integration
def test_a_plan_interrupted_after_any_step_converges(
    postgres: Postgres, airflow: FakeAirflow, tmp_path: Path
) -> None:
    cli = AirflowCli(command="airflow", python=None, environ=airflow.variables)
    made: list[str] = []

    def start() -> World:
        made.append(f"test_{uuid.uuid4().hex}")
        postgres.create_database(made[-1])
        root = tmp_path / made[-1]
        root.mkdir()
        return World(postgres.url(made[-1]), root, cli)

    def holds(world: World) -> None:
        observation = world.observe()
        assert observation.database.name in (StateClass.EMPTY, StateClass.CURRENT)
        for file in world.root.rglob("*"):
            assert file.is_dir() or stat.S_IMODE(file.stat().st_mode) == 0o600

    def is_goal(world: World) -> None:
        assert world.plan() == []
        assert world.observe().database.revisions == {REVISIONS[-1]}
        assert world.observe().users_with_password == {"admin", "bob"}

    prefixes = run_every_prefix(
        start=start,
        plan=World.plan,
        apply=World.perform,
        holds=holds,
        is_goal=is_goal,
    )

    assert prefixes == 5
    for name in made:
        postgres.drop_database(name)


@pytest.mark.integration
def test_the_reader_cannot_write(database: str) -> None:
    reached = AirflowDatabase(
        Secret(literal=database, read=lambda _id: ""),
        budget_seconds=5,
        clock=SystemClock(),
        stop=Stop(),
        rng=random.Random(1),  # noqa: S311 - jitter
        tell_unreachable=lambda _why, _pause: None,
    )

    with reached.reader() as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE t ()")
