"""The queue depth from Airflow's own tables: one statement per tick, over one connection that is kept.

Airflow 2.10 to 3.3; what there is to read is looked up (:mod:`worker_scaler.sources.schema`), not configured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg

from sidecar.clock import Clock
from sidecar.errors import ConfigError, Transient
from sidecar.postgres import Database
from worker_scaler.model import Reading
from worker_scaler.sources.facts import Fact, Meaning, to_reading
from worker_scaler.sources.schema import Schema, blind_spots
from worker_scaler.sources.session import Session, unreadable

_LOOK_AGAIN_SECONDS = 300.0  # an upgrade adds tables without an error that would say so
_MOVED = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.InsufficientPrivilege,
)

T = TypeVar("T")


class _BrokenError(Transient):
    """The connection, not the database, is of no use any more: another one may answer at once."""


class DatabaseSource:
    """Reads task instances, callbacks and connection tests. Blocking: call it in a thread.

    Args:
        database: Airflow's.
        statement_timeout_seconds: after this time the server ends the statement.
        meaning: what the rows mean.
        clock: tells when the schema is looked at again.
        tell_blind_spots: called with what cannot be counted, each time the schema was looked at.
    """

    def __init__(
        self,
        database: Database,
        *,
        statement_timeout_seconds: float,
        meaning: Meaning,
        clock: Clock,
        tell_blind_spots: Callable[[tuple[str, ...]], None] = lambda _spots: None,
    ) -> None:
        self._database = database
        self._options = f"-c statement_timeout={max(1, round(statement_timeout_seconds * 1000))}"
        self._meaning = meaning
        self._clock = clock
        self._tell_blind_spots = tell_blind_spots
        self._lock = threading.Lock()
        self._session: Session | None = None

    def read(self) -> Reading:
        """Return one consistent look at all queues of Celery executors.

        Raises:
            ConfigError: login refused, table or right missing; a retry cannot help.
            Transient: no answer in time, or from a server that became a standby; a retry may help.
        """
        with self._lock:
            reading = to_reading(self._facts(), self._meaning)
        if reading is None:
            raise Transient("The queues could not be read from the database", why="it returned no row at all")
        return reading

    def schema(self) -> Schema:
        """Return what is there and what can be read; raises as :meth:`read` does."""
        with self._lock:
            self._forget()
            return self._answer(lambda: self._connected().schema)

    def close(self) -> None:
        """Close the connection; the next reading opens another."""
        with self._lock:
            self._forget()

    def _facts(self) -> list[Fact]:
        """Ask over the kept connection; when that broke, over a new one: the database may be well."""
        was_kept = self._session is not None
        try:
            return self._answer(self._ask)
        except _BrokenError:
            if not was_kept:
                raise
        return self._answer(self._ask)

    def _ask(self) -> list[Fact]:
        session = self._connected()
        try:
            rows = session.connection.execute(session.statement).fetchall()
        except _MOVED:
            self._look(session)  # an upgrade changed the tables, or somebody the rights
            rows = session.connection.execute(session.statement).fetchall()
        facts = [Fact(*row) for row in rows]
        _refuse_a_demoted_server(session, facts)
        return facts

    def _connected(self) -> Session:
        now = self._clock.monotonic()
        if self._session is None:
            self._session = Session(self._database, options=self._options, now_seconds=now)
            self._tell_blind_spots(blind_spots(self._session.schema))
        elif now - self._session.looked_at_seconds >= _LOOK_AGAIN_SECONDS:
            self._look(self._session)
        return self._session

    def _look(self, session: Session) -> None:
        session.look(now_seconds=self._clock.monotonic())
        self._tell_blind_spots(blind_spots(session.schema))

    def _answer(self, ask: Callable[[], T]) -> T:
        """Call it; whatever goes wrong closes the connection."""
        try:
            return ask()
        except psycopg.ProgrammingError as err:
            self._forget()
            raise unreadable(_first_line(err)) from err
        except psycopg.Error as err:
            was_broken = self._session is not None and self._session.connection.broken
            self._forget()
            raise (_BrokenError if was_broken else Transient)(
                "The queues could not be read from the database",
                why=_first_line(err),
                remedy="Nothing is changed until they can; look at the database's load if it lasts",
            ) from err
        except (Transient, ConfigError):
            self._forget()
            raise

    def _forget(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _refuse_a_demoted_server(session: Session, facts: list[Fact]) -> None:
    """A server that was the writer and is a standby now has been failed over from: it knows the past only."""
    is_replica = bool(facts) and facts[0].is_replica
    if session.was_replica is False and is_replica:
        raise _BrokenError(
            "The queues could not be read from the database",
            why="its server became a standby: it was failed over from",
            remedy="The next look goes to whomever its name leads to then",
        )
    session.was_replica = is_replica


def _first_line(err: psycopg.Error) -> str:
    return str(err).strip().partition("\n")[0]
