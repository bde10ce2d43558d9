"""The migrate step: the heads decide, not the exit code; another migration in the way is outlived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from sidecar.clock import SystemClock
from sidecar.telemetry import Telemetry
from standalone_init.errors import MigrationFailed, TryAgain
from standalone_init.events import Events
from standalone_init.migration import Ended
from standalone_init.state import DatabaseState, StateClass
from standalone_init.steps.migrate import migrate
from standalone_init.watch import Blocker

LOST = Ended(
    exit_code=1, last_lines=("psycopg2.errors.LockNotAvailable: lock timeout", "InFailedSqlTransaction")
)
BLOCKER = Blocker(
    pid=4711,
    application="psql",
    address="10.0.1.7",
    state="idle in transaction",
    transaction_age=timedelta(minutes=45),
    table="dag",
)
DONE = Ended(exit_code=0, last_lines=("Database migrating done!",))


class Story:
    """What Airflow does and what is read after it, call by call."""

    def __init__(self, *calls: tuple[Ended, StateClass]) -> None:
        self._calls: Sequence[tuple[Ended, StateClass]] = calls
        self.log: list[str] = []

    def run_airflow(self) -> Ended:
        self.log.append("airflow")
        return self._calls[self.log.count("airflow") - 1][0]

    def wait_for_airflow(self) -> None:
        self.log.append("wait")

    def read_state(self) -> DatabaseState:
        name = self._calls[self.log.count("airflow") - 1][1]
        return DatabaseState(name=name, why="it was read", revisions=frozenset(), heads=frozenset({"h"}))

    def play(self) -> None:
        events = Events(Telemetry(service="standalone-init", version="0", clock=SystemClock()))
        migrate(
            run_airflow=self.run_airflow,
            wait_for_airflow=self.wait_for_airflow,
            pause=lambda failures: self.log.append(f"pause {failures}"),
            read_state=self.read_state,
            blockers=lambda: (BLOCKER,),
            tries=3,
            events=events,
        )


def test_a_migration_that_lost_airflows_lock_waits_for_the_other_and_tries_again() -> None:
    story = Story((LOST, StateClass.BEHIND), (DONE, StateClass.CURRENT))

    story.play()

    assert story.log == ["wait", "airflow", "pause 1", "wait", "airflow"]


def test_a_failure_whose_goal_another_one_reached_is_a_success() -> None:
    story = Story((LOST, StateClass.CURRENT))

    story.play()

    assert story.log == ["wait", "airflow"]


def test_it_gives_up_when_a_lock_is_never_free_and_names_who_has_it() -> None:
    story = Story(*[(LOST, StateClass.BEHIND)] * 3)

    with pytest.raises(TryAgain) as caught:
        story.play()

    assert story.log.count("airflow") == 3
    assert caught.value.why == (
        "pid 4711 (psql from 10.0.1.7) holds dag, idle in transaction, its transaction is 2700 s old"
    )


def test_another_failure_is_not_tried_again_and_quotes_the_last_words() -> None:
    story = Story((DONE, StateClass.EMPTY))

    with pytest.raises(MigrationFailed, match="Database migrating done!"):
        story.play()
    assert story.log.count("airflow") == 1
