"""One writer by PostgreSQL: real sessions, ended in every way a session ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg
import pytest

from sidecar.errors import ConfigError, Transient
from sidecar.postgres import Database
from sidecar.secrets import Secret
from worker_scaler.advisory_lock import AdvisoryLock, service_names
from worker_scaler.lease import LeaseLostError

pytestmark = pytest.mark.integration

Copy = Callable[..., AdvisoryLock]


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def copy(database: str) -> Iterator[Copy]:
    """Make copies of one scaler; they let go after the test."""
    with ExitStack() as stack:

        def make(*services: str, name: str = "copy") -> AdvisoryLock:
            reach = Database(Secret(literal=database, read=no_secrets), application_name=name)
            lock = AdvisoryLock(reach, services=services or ("main/heavy", "main/light"))
            stack.callback(lock.release)
            return lock

        yield make


def test_the_first_copy_writes_and_the_second_stands_by_and_names_it(copy: Copy) -> None:
    first, second = copy(name="scaler one"), copy(name="scaler two")

    assert first.claim().is_writer
    standing = second.claim()

    assert not standing.is_writer
    assert standing.holder.startswith("scaler one (server process ")
    first.check()
    with pytest.raises(LeaseLostError):
        second.check()


def test_who_stands_by_takes_over_with_its_next_claim(copy: Copy) -> None:
    first, second = copy(), copy()
    first.claim()
    second.claim()

    first.release()

    assert second.claim().is_writer
    assert not first.claim().is_writer


def test_a_session_that_was_ended_is_noticed_before_the_next_call(copy: Copy, database: str) -> None:
    first, second = copy(name="scaler one"), copy()
    first.claim()

    run(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scaler one'",
    )

    with pytest.raises(LeaseLostError, match="session ended"):
        first.check()
    assert second.claim().is_writer
    assert not first.claim().is_writer


def test_copies_whose_fleets_overlap_never_share_a_service(copy: Copy) -> None:
    old, new, other = copy("main/a", "main/b"), copy("main/b", "main/c"), copy("main/c")

    assert old.claim().is_writer
    assert not new.claim().is_writer
    assert other.claim().is_writer  # what the refused copy took by the way it gave back


def test_names_and_arns_of_a_service_are_the_same_service() -> None:
    arn = "arn:aws:ecs:eu-west-1:123456789012:service/main/heavy"

    assert service_names([("main", "heavy")]) == ("main/heavy",)
    assert service_names([("arn:aws:ecs:eu-west-1:123456789012:cluster/main", arn)]) == ("main/heavy",)


def test_an_unlocked_lock_is_lost(copy: Copy) -> None:
    lock = copy()
    lock.claim()
    assert lock._connection is not None
    lock._connection.execute("SELECT pg_advisory_unlock_all()")

    with pytest.raises(LeaseLostError, match="does not know the lock"):
        lock.check()


def test_a_database_that_does_not_answer_gives_no_lock() -> None:
    reach = Database(
        Secret(literal="postgresql://u:p@127.0.0.1:1/airflow", read=no_secrets), application_name="copy"
    )

    with pytest.raises(Transient):
        AdvisoryLock(reach, services=["main/heavy"]).claim()


def test_a_standby_gives_no_lock(copy: Copy, database: str) -> None:
    # What a standby answers; it would grant the lock, and the writer's sessions would not see it.
    run(database, "CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    name = database.rpartition("/")[2]
    run(database, f"ALTER DATABASE {name} SET search_path = public, pg_catalog")

    with pytest.raises(Transient, match="standby"):
        copy().claim()


class PooledDatabase:
    """A database behind a transaction-pooling proxy: all clients share one session."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._shared: psycopg.Connection[Any] | None = None

    @contextmanager
    def connect(self, *, autocommit: bool = True, options: str = "") -> Iterator[psycopg.Connection[Any]]:
        if self._shared is None or self._shared.closed:
            self._shared = psycopg.connect(self._url, autocommit=True)
        yield self._shared

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()


def test_a_transaction_pooling_proxy_is_refused_with_the_way_out(database: str) -> None:
    with closing(PooledDatabase(database)) as pooled:
        lock = AdvisoryLock(pooled, services=["main/heavy"])  # type: ignore[arg-type]  # it answers as one does

        with pytest.raises(ConfigError, match="WORKER_SCALER_LOCK=dynamodb"):
            lock.claim()
