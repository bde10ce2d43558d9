"""The lease as PostgreSQL advisory locks, one per ECS service, in a session of their own.

A session lock dies with its session: after a crash, a failover or a cut network nobody has to clean up. All
locks or none: two copies whose fleets overlap never share a service, whatever else they steer.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, LiteralString

import psycopg

from sidecar.errors import ConfigError, Transient
from sidecar.postgres import Database
from worker_scaler.lease import Standing, lease_lost

_STATEMENT_TIMEOUT_MILLISECONDS = 5_000

# A 64-bit key is split into classid (high) and objid (low), with objsubid 1.
# https://www.postgresql.org/docs/current/view-pg-locks.html
_LOCKS: LiteralString = """
SELECT (l.classid::bigint << 32) | l.objid::bigint, l.pid,
       l.pid = pg_backend_pid() AND NOT pg_is_in_recovery(), coalesce(a.application_name, '')
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""


class AdvisoryLock:
    """Implements :class:`worker_scaler.lease.Lease` on Airflow's database.

    Args:
        database: the writer, directly: a pooling proxy or a standby cannot hold a lock.
        services: ``cluster/service`` of all fleets.
    """

    def __init__(self, database: Database, *, services: Iterable[str]) -> None:
        self._database = database
        self._keys = sorted(key_of(service) for service in services)
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._connection: psycopg.Connection[Any] | None = None
        self._is_held = False

    def claim(self) -> Standing:
        """Take the locks, or see that they are still ours (see the port)."""
        with self._lock:
            try:
                return self._claim()
            except psycopg.Error as err:
                self._forget()
                raise Transient(
                    "The lock cannot be asked for",
                    why=str(err).strip().partition("\n")[0],
                    remedy="Nothing is changed until the database answers",
                ) from err
            except (ConfigError, Transient):
                self._forget()
                raise

    def check(self) -> None:
        """Ask the server whether this very session holds them (see the port)."""
        with self._lock:
            connection = self._connection
            if connection is None or not self._is_held:
                raise lease_lost("the lock is not held")
            try:
                is_whole = self._holds_all(connection)
            except psycopg.Error as err:
                self._forget()
                raise lease_lost(f"its session ended: {str(err).strip().partition(chr(10))[0]}") from err
            if not is_whole:
                self._forget()
                raise lease_lost("the database does not know the lock any more")

    def release(self) -> None:
        """Unlock and close the session."""
        with self._lock:
            if self._connection is not None:
                # The server notices a closed session a moment later; one that broke has no lock to free.
                with suppress(psycopg.Error):
                    self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._forget()

    def _claim(self) -> Standing:
        if self._connection is None:
            self._connection = self._open()
        elif self._is_held:
            if not self._holds_all(self._connection):
                self._forget()
                raise Transient("The lock was lost", why="the database does not know it any more")
            return Standing(is_writer=True)
        refused = self._try_all(self._connection)
        if refused is not None:
            return Standing(is_writer=False, holder=self._holder(self._connection, refused))
        self._is_held = True
        self._refuse_pooling(self._connection)
        return Standing(is_writer=True)

    def _open(self) -> psycopg.Connection[Any]:
        options = f"-c statement_timeout={_STATEMENT_TIMEOUT_MILLISECONDS}"
        connection = self._stack.enter_context(self._database.connect(options=options))
        connection.prepare_threshold = None
        if _one(connection, "SELECT pg_is_in_recovery()"):
            raise Transient(
                "The lock cannot be held on a standby",
                why="the server is in recovery: a copy at the writer would not see it",
                remedy="Point WORKER_SCALER_DATABASE_URL at the writer, or use WORKER_SCALER_LOCK=dynamodb",
            )
        return connection

    def _try_all(self, connection: psycopg.Connection[Any]) -> int | None:
        """Take all locks in one order; on the first refusal let go of all, and return which it was."""
        for key in self._keys:
            if not _one(connection, "SELECT pg_try_advisory_lock(%s)", key):
                connection.execute("SELECT pg_advisory_unlock_all()")
                return key
        return None

    def _holds_all(self, connection: psycopg.Connection[Any]) -> bool:
        held = {key for key, _, is_ours, _ in connection.execute(_LOCKS).fetchall() if is_ours}
        return held.issuperset(self._keys)

    def _holder(self, connection: psycopg.Connection[Any], key: int) -> str:
        for held, pid, _, application in connection.execute(_LOCKS).fetchall():
            if held == key:
                return f"{application or 'unknown'} (server process {pid})"
        return ""

    def _refuse_pooling(self, connection: psycopg.Connection[Any]) -> None:
        """A transaction-pooling proxy gives our session, and the lock in it, to whoever asks next."""
        ours = _one(connection, "SELECT pg_backend_pid()")
        with self._database.connect() as another:
            theirs = _one(another, "SELECT pg_backend_pid()")
        if ours == theirs or ours != _one(connection, "SELECT pg_backend_pid()"):
            raise ConfigError(
                "The lock cannot be held through this connection",
                why="a proxy shares the server's sessions between clients (transaction pooling)",
                remedy="Point WORKER_SCALER_DATABASE_URL past the proxy, use session pooling, or "
                "WORKER_SCALER_LOCK=dynamodb",
            )

    def _forget(self) -> None:
        self._stack.close()
        self._connection = None
        self._is_held = False


def key_of(service: str) -> int:
    """Return the lock's key: the same in every copy, and nobody else's by chance."""
    digest = hashlib.sha256(f"airflow-ecs worker-scaler {service}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def service_names(fleets: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return ``cluster/service`` of each, whether they were given by name or by ARN."""
    return tuple("/".join(part.rsplit("/", 1)[-1] for part in pair) for pair in fleets)


def _one(connection: psycopg.Connection[Any], query: LiteralString, *values: object) -> Any:
    row = connection.execute(query, values or None).fetchone()
    return row[0] if row else None
