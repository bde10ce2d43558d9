"""The lock of this product: one run at a time per database; the others wait and say for whom.

Airflow's own lock (advisory key 1) gives up after 1.8 s on PostgreSQL, because its timeout of 1800 is read
as milliseconds; ours waits. It is a session lock: it dies with its holder, so nothing is ever left to clean.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, TypeVar

import psycopg

from sidecar.clock import Clock, Stop
from sidecar.errors import ConfigError
from standalone_init.errors import MigrationRunning, TryAgain

AIRFLOW_KEY = 1  # airflow.utils.db.DBLocks.MIGRATIONS
_POLL_SECONDS = 0.5
_TELL_EVERY_SECONDS = 10.0
_PROXY_SAMPLES = 5
_LOOKS = 3

T = TypeVar("T")

# A 64-bit key is split into classid (high) and objid (low) with objsubid 1.
# https://www.postgresql.org/docs/current/view-pg-locks.html
_HOLDER: LiteralString = """
    SELECT l.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local'), a.backend_start
    FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32 | l.objid::bigint) = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has the lock.

    Attributes:
        pid: of its server process.
        application: its ``application_name``: for our own runs, with the host's name.
        address: of its client.
        since: when it connected; None when this user may not see that.
    """

    pid: int
    application: str
    address: str
    since: datetime | None

    def __str__(self) -> str:
        """For people."""
        since = self.since.isoformat(timespec="seconds") if self.since else "unknown"
        return (
            f"{self.application or 'unknown'} (pid {self.pid}, from {self.address}, connected since {since})"
        )


class RunLock:
    """Waits for locks in one database session.

    Args:
        connection: of this session alone, in autocommit; closing it releases everything.
        open_another: opens a second connection to the same address; needed for a moment only.
        tell_waiting: called with the holder when the wait begins and now and then.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        *,
        open_another: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
        timeout_seconds: float,
        clock: Clock,
        stop: Stop,
        tell_waiting: Callable[[str, Holder | None, float], None],
    ) -> None:
        self._connection = connection
        self._open_another = open_another
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._stop = stop
        self._tell_waiting = tell_waiting
        self._key = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock during the block.

        Raises:
            ConfigError: a proxy shares the sessions of the server, a lock would mean nothing.
            TryAgain: not free in time, or told to stop.
        """
        self._refuse_pooling()
        self._key = own_key(self._database_oid())
        self._wait("another standalone-init", self._key, self._try)
        try:
            yield
        finally:
            self._release()

    def assert_held(self) -> None:
        """Raise TryAgain unless this very session still holds the lock: call it before each step."""
        row = self._connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
        holder = holder_of(self._connection, self._key)
        if row is None or holder is None or holder.pid != row[0]:
            raise TryAgain(
                "The lock was lost",
                why=f"it is held by {holder or 'nobody'}",
                remedy="Run again: it continues",
            )

    def wait_for_airflow(self) -> None:
        """Wait until no ``airflow db migrate`` runs here: one by hand, or the child of a killed run of ours.

        Raises:
            TryAgain: it did not end in time, or told to stop.
        """
        self._wait("an 'airflow db migrate'", AIRFLOW_KEY, self._is_airflow_idle)

    def when_quiet(self, look: Callable[[], T]) -> T:
        """Return what ``look`` returns when no migration was in its way; wait for those that are.

        Raises:
            MigrationRunning: each time another one began while it looked.
            TryAgain: one did not end in time, or told to stop.
        """
        for _ in range(_LOOKS - 1):
            self.wait_for_airflow()
            with suppress(MigrationRunning):
                return look()
        self.wait_for_airflow()
        return look()

    def _wait(self, whom: str, key: int, is_ours: Callable[[], bool]) -> None:
        started = self._clock.monotonic()
        told_at: float | None = None
        while not is_ours():
            waited = self._clock.monotonic() - started
            holder = holder_of(self._connection, key)
            if waited > self._timeout_seconds:
                raise TryAgain(
                    f"Waited {self._timeout_seconds:g} s for {whom}",
                    why=f"the lock is held by {holder or 'somebody who let go just now'}",
                    remedy="Wait for it or end it, or raise STANDALONE_INIT_LOCK_TIMEOUT_SECONDS",
                )
            if told_at is None or waited - told_at >= _TELL_EVERY_SECONDS:
                self._tell_waiting(whom, holder, waited)
                told_at = waited
            if self._stop.wait_in_thread(min(_POLL_SECONDS, self._timeout_seconds)):
                raise TryAgain(
                    f"Stopped while waiting for {whom}", why=self._stop.reason, remedy="Nothing was changed"
                )

    def _try(self) -> bool:
        row = self._connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", [self._key]).fetchone()
        return row is not None and row[0] is True

    def _is_airflow_idle(self) -> bool:
        return holder_of(self._connection, AIRFLOW_KEY) is None

    def _release(self) -> None:
        if not self._connection.broken:
            self._connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [self._key])

    def _database_oid(self) -> int:
        row = self._connection.execute(
            "SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()"
        ).fetchone()
        return int(row[0]) if row else 0

    def _refuse_pooling(self) -> None:
        """Two connections at once are two server processes, each always the same, or a lock means nothing.

        In turns a proxy's processes show themselves on one connection. A proxy that hands out the one that
        came back last shows the same to both: it would give it to the next run, too, and our lock with it.
        """
        with self._open_another() as another:
            # One after the other: by turns, two processes in turn would look like one for each connection.
            mine, others = _server_processes(self._connection), _server_processes(another)
        if len(mine) > 1 or len(others) > 1 or mine & others:
            raise ConfigError(
                "The database is behind a transaction-pooling proxy",
                why="two connections at once were answered by the server processes"
                f" {sorted(mine)} and {sorted(others)}: no lock holds",
                remedy="Give the database's own address here (not PgBouncer's); Airflow may keep the proxy's",
            )


def _server_processes(connection: psycopg.Connection[Any]) -> frozenset[int]:
    return frozenset(
        row[0]
        for _ in range(_PROXY_SAMPLES)
        for row in connection.execute("SELECT pg_catalog.pg_backend_pid()")
    )


def own_key(database_oid: int) -> int:
    """Return this product's key for a database: positive, 63 bits, far from Airflow's 1 and 2."""
    digest = hashlib.sha256(f"airflow-ecs/standalone-init/{database_oid}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def between_migrations(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Read in the block, and believe it: no ``airflow db migrate`` went on when it began or when it ended.

    Looks at Airflow's lock and never takes it: a reader that had it would make a migration fail.

    Raises:
        MigrationRunning: one goes on; what was read, or why it could not be read, means nothing.
    """
    _refuse_migration(connection)
    try:
        yield
    except psycopg.Error:
        if not connection.broken:
            _refuse_migration(connection)
        raise
    _refuse_migration(connection)


def _refuse_migration(connection: psycopg.Connection[Any]) -> None:
    holder = holder_of(connection, AIRFLOW_KEY)
    if holder is not None:
        raise MigrationRunning(
            "A migration is running",
            why=f"Airflow's lock is held by {holder}",
            remedy="Wait for its end and run again",
        )


def holder_of(connection: psycopg.Connection[Any], key: int) -> Holder | None:
    """Return who holds an advisory lock in this database."""
    row = connection.execute(_HOLDER, [key]).fetchone()
    return Holder(pid=row[0], application=row[1], address=row[2], since=row[3]) if row else None
