"""An upgrade that would hold locks for longer than allowed is refused before anything is touched."""

from __future__ import annotations

import random
from typing import Any
from unittest.mock import create_autospec

import psycopg
import pytest

from sidecar.app import Runtime
from sidecar.aws import Aws
from sidecar.clock import Stop, SystemClock
from standalone_init.database import AirflowDatabase
from standalone_init.errors import UpgradeRefused
from standalone_init.events import Events
from standalone_init.forecast import Forecast, TableForecast
from standalone_init.migration_sql import Lock
from standalone_init.safety import Safety
from standalone_init.settings import StandaloneInitSettings
from standalone_init.state import DatabaseState, StateClass

BEHIND = DatabaseState(
    name=StateClass.BEHIND, why="", revisions=frozenset({"a"}), heads=frozenset({"b"}), pending=1
)
LOG = TableForecast(
    table="log", lock=Lock.ACCESS_EXCLUSIVE, rows=10_000_000, bytes=8_000_000_000, statements=1, seconds=400
)
AHEAD = Forecast(revisions=("b",), destructive=(), unknown=(), tables=(LOG,), seconds=400.0)


def a_safety(**settings: str) -> Safety:
    environ = {"STANDALONE_INIT_DATABASE_URL": "postgresql://u:pw@127.0.0.1/x", **settings}
    # Nothing of these is asked: the estimate is judged before AWS or the database are.
    runtime = create_autospec(
        Runtime,
        instance=True,
        aws=create_autospec(Aws),
        clock=SystemClock(),
        stop=Stop(),
        rng=random.Random(1),  # noqa: S311 - jitter
    )
    return Safety(
        settings=StandaloneInitSettings.load(environ),
        runtime=runtime,
        database=create_autospec(AirflowDatabase),
        read_state=lambda: BEHIND,
        airflow_version=lambda: "3.3.99",
        events=create_autospec(Events),
    )


@pytest.fixture
def connection() -> Any:
    return create_autospec(psycopg.Connection)


def test_more_time_under_locks_than_allowed_is_refused_with_the_table(connection: Any) -> None:
    with pytest.raises(UpgradeRefused) as refused:
        a_safety(STANDALONE_INIT_MAX_LOCK_SECONDS="60").prepare([], connection, look_ahead=lambda: AHEAD)

    assert "about 400 s, 60 s are allowed" in str(refused.value)
    assert "log: " in refused.value.why
    assert refused.value.exit_code == 70


def test_less_is_not(connection: Any) -> None:
    a_safety(STANDALONE_INIT_MAX_LOCK_SECONDS="500").prepare([], connection, look_ahead=lambda: AHEAD)


def test_an_estimate_that_nobody_asked_for_is_not_made(connection: Any) -> None:
    def look_ahead() -> Forecast:
        raise AssertionError("Airflow was started for nothing")

    a_safety().prepare([], connection, look_ahead=look_ahead)
