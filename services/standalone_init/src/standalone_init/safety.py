"""What makes an upgrade safe to begin and safe to fail: stopped writers, a snapshot, and the way back.

Everything here is remembered outside the process before it is done, so a kill at any instant is answered
by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from sidecar.app import Runtime
from sidecar.errors import ConfigError, SidecarError, sentences
from standalone_init.database import AirflowDatabase
from standalone_init.errors import UpgradeRefused
from standalone_init.events import Events
from standalone_init.forecast import Forecast
from standalone_init.lock import RunLock
from standalone_init.plan import Step, TakeSnapshot
from standalone_init.settings import StandaloneInitSettings
from standalone_init.snapshots import memory as snapshots
from standalone_init.snapshots.model import Source
from standalone_init.snapshots.rds import open_rds
from standalone_init.snapshots.taking import Patience, Taker
from standalone_init.state import DatabaseState, StateClass
from standalone_init.writers import memory as rows
from standalone_init.writers.ecs import EcsWriters
from standalone_init.writers.model import Memory, Service, may_start
from standalone_init.writers.scaling import ScalableTargets
from standalone_init.writers.sessions import Session, sessions
from standalone_init.writers.writers import Writers

_BY_HAND = "standalone-init start-writers"


class Safety:
    """Built per run; opens nothing before it is needed."""

    def __init__(
        self,
        *,
        settings: StandaloneInitSettings,
        runtime: Runtime,
        database: AirflowDatabase,
        read_state: Callable[[], DatabaseState],
        airflow_version: Callable[[], str],
        events: Events,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._database = database
        self._read_state = read_state
        self._airflow_version = airflow_version
        self._events = events
        self.snapshot = ""
        """The name of this run's snapshot."""
        self.stopped: tuple[Memory, ...] = ()
        """What this run has stopped, as it was before."""

    @property
    def writers(self) -> Writers:
        """Who stops and starts."""
        return Writers(
            [Service(cluster=one.cluster, service=one.service) for one in self._settings.stop_services],
            ecs=EcsWriters(self._runtime.aws),
            scaling=ScalableTargets(self._runtime.aws),
            drain_seconds=self._settings.drain_timeout_seconds,
            sessions=self._sessions,
            clock=self._runtime.clock,
            stop=self._runtime.stop,
            rng=self._runtime.rng,
            tell=self._events,
        )

    def prepare(
        self,
        steps: Sequence[Step],
        connection: psycopg.Connection[Any],
        *,
        look_ahead: Callable[[], Forecast | None],
    ) -> None:
        """Find out what would stop the run later, before it touches anything.

        Raises:
            UpgradeRefused: it would hold locks for longer than the settings allow.
            SidecarError: a snapshot cannot be had (see ``Taker.prepare``).
        """
        limit = self._settings.max_lock_seconds
        ahead = look_ahead() if limit is not None else None
        if limit is not None and ahead is not None and ahead.seconds > limit:
            raise UpgradeRefused(
                f"The upgrade would hold locks for about {ahead.seconds:.0f} s, {limit:g} s are allowed",
                why="; ".join(str(table) for table in ahead.tables[:3]),
                remedy="Make these tables smaller ('airflow db clean'), or raise"
                " STANDALONE_INIT_MAX_LOCK_SECONDS. Nothing was changed",
            )
        for step in steps:
            if isinstance(step, TakeSnapshot):
                self._taker(step.source).prepare(
                    connection, step.upgrade, were_writers_stopped=step.were_writers_stopped
                )

    def stop(self, connection: psycopg.Connection[Any], *, position: str) -> None:
        """Stop the writers (see ``Writers.stop``)."""
        try:
            self.writers.stop(connection, position=position)
        finally:
            with suppress(psycopg.Error):
                self.stopped = rows.recall(connection)

    def take(self, step: TakeSnapshot, connection: psycopg.Connection[Any]) -> None:
        """Take the snapshot, or finish that of an earlier try."""
        self.snapshot = self._taker(step.source).take(
            connection,
            step.upgrade,
            were_writers_stopped=step.were_writers_stopped,
            are_writers_stopped=step.are_writers_stopped,
        )

    def start(self, connection: psycopg.Connection[Any]) -> None:
        """Start the writers; from now on somebody writes, so no later try may take an earlier snapshot."""
        snapshots.close(connection, why="the writers were started again")
        self.writers.start(connection)

    def upgraded(self, connection: psycopg.Connection[Any]) -> None:
        """Note that the upgrade is verified: its snapshot is no later one's; make room if that is wanted."""
        snapshots.close(connection, why="the upgrade was verified")
        if self._settings.snapshot and self.snapshot:
            try:
                self._taker(Source.of(self._settings.snapshot)).remove_old(keep=self.snapshot)
            except SidecarError as err:
                self._events.snapshots_not_removed(err)  # the upgrade is none the worse for it

    @contextmanager
    def writers_back_on_failure(self, lock: RunLock, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """When the block fails, start the writers where they can work, and say so in the error."""
        try:
            yield
        except Exception as err:
            told = self._after_a_failure(lock, connection)
            if isinstance(err, SidecarError) and told:
                err.remedy = sentences(err.remedy, told)
            raise

    def _after_a_failure(self, lock: RunLock, connection: psycopg.Connection[Any]) -> str:
        """Start the writers where they can work; return a sentence on it, "" when none was stopped.

        They can at the revision they were stopped at, and at the head. In between they stay stopped.
        Never raises SidecarError: the failure before is the news.
        """
        try:
            if not self._settings.stop_services and not rows.recall(connection):
                return ""
            lock.assert_held()
            remembered = self.writers.remembered(connection)
            if not remembered:
                return ""
            state = self._read_state()
            if not may_start(
                remembered, is_at_head=state.name is StateClass.CURRENT, position=state.position
            ):
                self._events.writers_left_stopped(f"the database is {state}: {state.why}")
                return (
                    "The writers stay stopped, for the database is between two versions: run again; or, once"
                    f" it is at one of these, '{_BY_HAND}'"
                )
            self.start(connection)
        except (SidecarError, psycopg.Error) as err:
            self._events.writers_left_stopped(str(err))
            return f"The writers that were stopped may still be: run again, or '{_BY_HAND}'"
        return "The writers were started again as they were"

    def start_by_hand(self, connection: psycopg.Connection[Any], *, anyway: bool) -> tuple[str, ...]:
        """Start what is remembered as stopped; return what it was.

        Args:
            connection: the one that holds the lock.
            anyway: also where they cannot work with the database as it is.

        Raises:
            ConfigError: they cannot.
            SidecarError: one could not be started.
        """
        remembered = self.writers.remembered(connection)
        state = self._read_state()
        is_at_head = state.name is StateClass.CURRENT
        if not anyway and not may_start(remembered, is_at_head=is_at_head, position=state.position):
            raise ConfigError(
                "The writers cannot work with this database",
                why=f"it is {state}: {state.why}, and neither at the head of this image nor where they were"
                " stopped",
                remedy="Run standalone-init apply; or, if you know better, start them with --anyway",
            )
        self.start(connection)
        return tuple(str(memory) for memory in remembered)

    def _taker(self, source: Source) -> Taker:
        return Taker(
            source,
            open_rds(source, self._runtime.aws),
            patience=Patience(
                ready_seconds=self._settings.snapshot_ready_timeout_seconds,
                snapshot_seconds=self._settings.snapshot_timeout_seconds,
            ),
            kept=self._settings.snapshots_kept,
            airflow_version=self._airflow_version(),
            clock=self._runtime.clock,
            stop=self._runtime.stop,
            rng=self._runtime.rng,
            tell=self._events,
        )

    def _sessions(self) -> Sequence[Session]:
        with self._database.reader() as connection:
            return sessions(connection)
