"""The lock on a real PostgreSQL: it waits, names its holder, knows when it is lost, and refuses a proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle
from typing import Any

import psycopg
import pytest

from sidecar.clock import Stop, SystemClock
from sidecar.errors import ConfigError
from standalone_init.errors import MigrationRunning, TryAgain
from standalone_init.lock import AIRFLOW_KEY, Holder, RunLock, between_migrations, own_key

pytestmark = pytest.mark.integration


class Told:
    def __init__(self) -> None:
        self.holders: list[Holder | None] = []
        self.once = threading.Event()

    def waiting(self, _whom: str, holder: Holder | None, _seconds: float) -> None:
        self.holders.append(holder)
        self.once.set()


@pytest.fixture
def first(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True, application_name="the first") as connection:
        yield connection


@pytest.fixture
def second(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def lock_on(
    connection: Any,
    *,
    another: Any = None,
    timeout_seconds: float = 10,
    told: Told | None = None,
    stop: Stop | None = None,
) -> RunLock:
    def open_another() -> AbstractContextManager[Any]:
        if another is not None:
            return nullcontext(another)
        return psycopg.connect(connection.info.dsn, password=connection.info.password, autocommit=True)

    return RunLock(
        connection,
        open_another=open_another,
        timeout_seconds=timeout_seconds,
        clock=SystemClock(),
        stop=stop or Stop(),
        tell_waiting=(told or Told()).waiting,
    )


def test_who_waits_is_told_for_whom_and_gets_it_when_it_is_free(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    told = Told()
    got_it = threading.Event()

    def wait_for_it() -> None:
        with lock_on(second, told=told).held():
            got_it.set()

    with lock_on(first).held():
        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        assert told.once.wait(10)
        assert not got_it.is_set()
    waiter.join(10)

    assert got_it.is_set()
    holder = told.holders[0]
    assert holder is not None
    assert (holder.application, holder.address) == ("the first", "127.0.0.1")
    assert holder.pid == first.info.backend_pid
    assert holder.since is not None


def test_a_lock_that_is_not_free_in_time_names_its_holder(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    waiting = lock_on(second, timeout_seconds=0.05).held()

    with lock_on(first).held(), pytest.raises(TryAgain, match="the first"), waiting:
        pass


def test_the_order_to_stop_ends_the_wait(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    stop = Stop()
    stop.request("SIGTERM")
    waiting = lock_on(second, stop=stop).held()

    with lock_on(first).held(), pytest.raises(TryAgain, match="Nothing was changed"), waiting:
        pass


def test_a_lost_lock_is_noticed_before_the_next_step(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    mine = lock_on(first)

    with mine.held():
        mine.assert_held()
        first.execute("SELECT pg_advisory_unlock_all()")
        with lock_on(second).held(), pytest.raises(TryAgain, match="lock was lost"):
            mine.assert_held()


def test_airflows_own_migration_is_waited_for(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    first.execute("SELECT pg_advisory_lock(%s)", [AIRFLOW_KEY])

    with pytest.raises(TryAgain, match="an 'airflow db migrate'"):
        lock_on(second, timeout_seconds=0.05).wait_for_airflow()

    first.execute("SELECT pg_advisory_unlock(%s)", [AIRFLOW_KEY])
    lock_on(second, timeout_seconds=0.05).wait_for_airflow()


def test_what_is_read_while_a_migration_begins_is_not_believed(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    with pytest.raises(MigrationRunning, match="the first"), between_migrations(second):
        first.execute("SELECT pg_advisory_lock(%s)", [AIRFLOW_KEY])


def test_a_reading_that_fails_in_a_migration_blames_the_migration(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    second.execute("SET statement_timeout TO 50")
    first.execute("CREATE TABLE dag ()")

    def read_while_it_begins() -> None:
        with between_migrations(second):
            first.execute("SELECT pg_advisory_lock(%s)", [AIRFLOW_KEY])
            first.execute("BEGIN")
            first.execute("LOCK TABLE dag")
            second.execute("SELECT 1 FROM dag")

    with pytest.raises(MigrationRunning, match="the first"):
        read_while_it_begins()


def test_a_reading_that_fails_without_a_migration_keeps_its_own_reason(
    first: psycopg.Connection[Any],
) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable), between_migrations(first):
        first.execute("SELECT 1 FROM absent")


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_look_that_migrations_disturb_is_repeated(first: psycopg.Connection[Any], times: int) -> None:
    disturbed = [MigrationRunning("A migration is running")] * times

    def look() -> str:
        if disturbed:
            raise disturbed.pop()
        return "seen"

    assert lock_on(first).when_quiet(look) == "seen"


def test_a_look_that_is_always_disturbed_ends_with_not_now(first: psycopg.Connection[Any]) -> None:
    def look() -> None:
        raise MigrationRunning("A migration is running")

    with pytest.raises(MigrationRunning):
        lock_on(first).when_quiet(look)


class Pooled:
    """A connection to a transaction-pooling proxy: each statement is answered by a session of the pool."""

    broken = False

    def __init__(self, pool: Callable[[], psycopg.Connection[Any]]) -> None:
        self._pool = pool

    def execute(self, *arguments: Any) -> Any:
        return self._pool().execute(*arguments)


def test_a_transaction_pooling_proxy_is_refused(
    first: psycopg.Connection[Any], second: psycopg.Connection[Any]
) -> None:
    sessions = cycle([first, second])
    mine, another = Pooled(lambda: next(sessions)), Pooled(lambda: next(sessions))

    with pytest.raises(ConfigError, match="transaction-pooling"), lock_on(mine, another=another).held():
        pass


def test_a_proxy_that_always_hands_out_the_session_that_came_back_last_is_refused(
    first: psycopg.Connection[Any],
) -> None:
    mine, another = Pooled(lambda: first), Pooled(lambda: first)

    with pytest.raises(ConfigError, match="transaction-pooling"), lock_on(mine, another=another).held():
        pass


def test_our_key_is_ours_alone_and_differs_between_databases() -> None:
    keys = {own_key(oid) for oid in range(1000)}

    assert len(keys) == 1000
    assert all(2 < key < 2**63 for key in keys)
