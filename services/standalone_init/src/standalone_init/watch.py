"""Looks at a running migration from outside: how far it is, and who is in its way. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString, Protocol

import psycopg

from sidecar.clock import Clock

MIGRATION_APPLICATION = "airflow-db-migrate"
"""The ``application_name`` under which Airflow's migration connects."""

_LOOK_EVERY_SECONDS = 1.0
_TELL_EVERY_SECONDS = 10.0
_SHOWN = 10

# https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SESSION
_IN_THE_WAY: LiteralString = """
    SELECT DISTINCT b.pid, coalesce(b.application_name, ''), coalesce(host(b.client_addr), 'local'),
        coalesce(b.state, 'unknown'), coalesce(clock_timestamp() - b.xact_start, interval '0'),
        coalesce(l.relation::regclass::text, '')
    FROM pg_catalog.pg_stat_activity w
    CROSS JOIN LATERAL unnest(pg_catalog.pg_blocking_pids(w.pid)) AS blocking (pid)
    JOIN pg_catalog.pg_stat_activity b ON b.pid = blocking.pid
    LEFT JOIN pg_catalog.pg_locks l ON l.pid = w.pid AND NOT l.granted AND l.locktype = 'relation'
    WHERE w.datname = current_database() AND w.application_name = %s
    ORDER BY 5 DESC LIMIT %s
"""
_OLD: LiteralString = """
    SELECT pid, coalesce(application_name, ''), coalesce(host(client_addr), 'local'),
        coalesce(state, 'unknown'), clock_timestamp() - xact_start, ''
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND xact_start < clock_timestamp() - %s::interval
    ORDER BY 5 DESC LIMIT %s
"""
_HAS_VERSIONS: LiteralString = "SELECT to_regclass('alembic_version') IS NOT NULL"
_VERSIONS: LiteralString = "SELECT version_num FROM alembic_version ORDER BY 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A session whose transaction a migration has to wait for.

    Attributes:
        address: of its client, by which the ECS task can be found.
        state: ``idle in transaction`` holds its locks and does nothing.
        transaction_age: how long its transaction has been open.
        table: what the migration waits for; "" when unknown.
    """

    pid: int
    application: str
    address: str
    state: str
    transaction_age: timedelta
    table: str = ""

    def __str__(self) -> str:
        """For people."""
        holds = f" holds {self.table}," if self.table else ""
        return (
            f"pid {self.pid} ({self.application or 'unknown application'} from {self.address}){holds}"
            f" {self.state}, its transaction is {self.transaction_age.total_seconds():.0f} s old"
        )


class Tell(Protocol):
    """Who is told what is seen."""

    def revision_reached(self, revision: str) -> None:
        """Another revision was committed."""

    def blocked(self, blockers: Sequence[Blocker]) -> None:
        """The migration waits for these."""


class Watch:
    """Looks at most once a second through a connection of its own; a failing look is no news.

    Args:
        connection: in autocommit, for reading.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, clock: Clock, tell: Tell) -> None:
        self._connection = connection
        self._clock = clock
        self._tell = tell
        self._looked_at: float | None = None
        self._told_at: float | None = None
        self._revision: str | None = None
        self.blockers: Sequence[Blocker] = ()
        """Who was in the way when it was last seen to wait."""

    def look(self) -> None:
        """Look, unless that was done a moment ago."""
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < _LOOK_EVERY_SECONDS:
            return
        first, self._looked_at = self._looked_at is None, now
        try:
            revision = revision_of(self._connection)
            if revision != self._revision and not first and revision is not None:
                self._tell.revision_reached(revision)
            self._revision = revision
            self._look_for_blockers(now)
        except psycopg.Error:
            return

    def revision(self) -> str | None:
        """Return the revision that is committed now; None when there is none, or no answer."""
        try:
            return revision_of(self._connection)
        except psycopg.Error:
            return None

    def _look_for_blockers(self, now: float) -> None:
        blockers = in_the_way(self._connection)
        if not blockers:
            return
        self.blockers = blockers
        if self._told_at is None or now - self._told_at >= _TELL_EVERY_SECONDS:
            self._told_at = now
            self._tell.blocked(blockers)


def revision_of(connection: psycopg.Connection[Any]) -> str | None:
    """Return the stamped revision or revisions; None when there is no stamp."""
    row = connection.execute(_HAS_VERSIONS).fetchone()
    if row is None or not row[0]:
        return None
    return ",".join(version for (version,) in connection.execute(_VERSIONS)) or None


def in_the_way(connection: psycopg.Connection[Any]) -> Sequence[Blocker]:
    """Return the sessions for which a running migration waits, the oldest transaction first."""
    return _blockers(connection.execute(_IN_THE_WAY, [MIGRATION_APPLICATION, _SHOWN]))


def old_transactions(connection: psycopg.Connection[Any], older_than: timedelta) -> Sequence[Blocker]:
    """Return the sessions whose transaction would be in the way of a migration that began now."""
    return _blockers(connection.execute(_OLD, [older_than, _SHOWN]))


def _blockers(rows: psycopg.Cursor[Any]) -> Sequence[Blocker]:
    return tuple(
        Blocker(
            pid=pid,
            application=application,
            address=address,
            state=state,
            transaction_age=age,
            table=table,
        )
        for pid, application, address, state, age, table in rows
    )
