"""One run: look, plan, lock, look again, act, verify, record. Synchronous; ``__main__`` gives it a thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from sidecar.app import Runtime
from sidecar.errors import EXIT_CRASH, EXIT_OK, SidecarError
from standalone_init import verify
from standalone_init.database import AirflowDatabase
from standalone_init.errors import MigrationRunning, TryAgain
from standalone_init.events import Events
from standalone_init.forecast import Forecast
from standalone_init.lock import RunLock
from standalone_init.locking import run_lock
from standalone_init.observe import Observer
from standalone_init.performing import Performer
from standalone_init.plan import Migrate, Observation, StartWriters, Step, SyncObjects, plan
from standalone_init.record import Beginning, Record
from standalone_init.report import Outcome, Report
from standalone_init.safety import Safety
from standalone_init.settings import StandaloneInitSettings
from standalone_init.state import StateClass
from standalone_init.steps import directories

Choose = Callable[[Observation, Sequence[Step]], Sequence[Step]]


def everything(_observation: Observation, steps: Sequence[Step]) -> Sequence[Step]:
    """Do all that is missing."""
    return steps


def objects_alone(observation: Observation, steps: Sequence[Step]) -> Sequence[Step]:
    """Do what the objects file asks for and nothing else.

    Raises:
        ConfigError: there is no objects file.
        TryAgain: the database is not migrated yet.
    """
    if observation.database.name is not StateClass.CURRENT:
        raise TryAgain(
            "Objects need a database at the head of this image",
            why=f"it is {observation.database}: {observation.database.why}",
            remedy="Run standalone-init apply",
        )
    return [step for step in steps if isinstance(step, SyncObjects)]


class Apply:
    """Takes a deployment from what is to what is wanted.

    Args:
        choose: which of the missing steps are done.
        preview: what the migration will do.
    """

    def __init__(
        self,
        *,
        settings: StandaloneInitSettings,
        runtime: Runtime,
        observer: Observer,
        database: AirflowDatabase,
        performer: Performer,
        safety: Safety,
        preview: Callable[[Observation], Forecast | None],
        events: Events,
        choose: Choose = everything,
    ) -> None:
        self._choose = choose
        self._settings = settings
        self._runtime = runtime
        self._observer = observer
        self._database = database
        self._performer = performer
        self._safety = safety
        self._preview = preview
        self._events = events
        self._report = Report(started=runtime.clock.now())

    def run(self) -> int:
        """Run once; return 0, or raise. The report is written either way.

        Raises:
            SidecarError: with the exit code of what stood in the way; see ``errors``.
        """
        started = self._runtime.clock.monotonic()
        try:
            outcome = self._run()
        except Exception as err:
            self._close("failed", err, started=started)
            # What stood in the way is the news, not that the report could not be written on top of it.
            try:
                self._write_report()
            except SidecarError as second:
                self._events.report_not_written(second)
            raise
        self._close(outcome, None, started=started)
        self._write_report()
        return EXIT_OK

    def _run(self) -> Outcome:
        try:
            observation, steps = self._look_and_plan()
            if not steps:
                return self._confirm(observation)
            if self._runtime.dry_run:
                self._events.planned(steps)
                return "planned"
        except MigrationRunning:
            # Who has the lock can wait for its end; a dry run takes none.
            if self._runtime.dry_run:
                raise
        with self._database.writer() as connection:
            lock = run_lock(
                self._settings,
                self._runtime,
                database=self._database,
                connection=connection,
                tell_waiting=self._events.waiting,
            )
            with lock.held():
                # Somebody else may have done it all while we waited.
                observation, steps = lock.when_quiet(self._look_and_plan)
                if not steps:
                    return lock.when_quiet(lambda: self._confirm(observation))
                with self._safety.writers_back_on_failure(lock, connection):
                    self._safety.prepare(steps, connection, look_ahead=lambda: self._preview(observation))
                self._events.no_impact_until_here(steps)
                self._act(observation, steps, lock, connection)
        return "changed"

    def _look_and_plan(self) -> tuple[Observation, Sequence[Step]]:
        observation = self._observer.observe()
        self._events.observed(observation.database, observation.image)
        steps = self._choose(observation, plan(observation, self._observer.wanted))
        self._note_start(observation, steps)
        return observation, steps

    def _confirm(self, observation: Observation) -> Outcome:
        self._verify(observation, has_migrated=False)
        self._events.nothing_to_do()
        return "unchanged"

    def _act(
        self,
        observation: Observation,
        steps: Sequence[Step],
        lock: RunLock,
        connection: psycopg.Connection[Any],
    ) -> None:
        state = observation.database
        record = Record(connection)
        record.begin(
            Beginning(
                state_before=state.name,
                from_revisions=state.revisions,
                to_revisions=state.heads,
                airflow_version=observation.image.airflow_version,
                host=socket.gethostname(),
            )
        )
        last = [step for step in steps if isinstance(step, StartWriters)]
        try:
            with self._safety.writers_back_on_failure(lock, connection):
                for step in steps:
                    if step not in last:
                        self._perform(step, lock, connection, record)
                # Nobody is let in before it is proved that what they will find is whole.
                self._prove(steps, lock, connection, record)
                for step in last:
                    self._perform(step, lock, connection, record)
        except Exception as err:
            self._end("failed", err)
            with suppress(psycopg.Error):
                record.failed(err, self._document())
            raise
        self._end("changed")
        record.done(self._document())

    def _perform(
        self, step: Step, lock: RunLock, connection: psycopg.Connection[Any], record: Record
    ) -> None:
        lock.assert_held()
        record.phase(step.name, self._document())
        with self._timed(step.name, str(step)) as duration:
            self._performer.perform(step, lock, connection)
        self._events.step_done(step, duration())

    def _prove(
        self, steps: Sequence[Step], lock: RunLock, connection: psycopg.Connection[Any], record: Record
    ) -> None:
        record.phase("verify", self._document())
        has_migrated = any(isinstance(step, Migrate) for step in steps)
        with self._timed("verify", "read what is there"):
            lock.when_quiet(lambda: self._verify(self._observer.observe(), has_migrated=has_migrated))
        if has_migrated:
            self._safety.upgraded(connection)

    @contextmanager
    def _timed(self, phase: str, did: str) -> Iterator[Callable[[], float]]:
        """Note in the report how long the block took, once it has succeeded."""
        started = self._runtime.clock.monotonic()

        def duration() -> float:
            return self._runtime.clock.monotonic() - started

        yield duration
        self._report.done.append({"step": phase, "did": did, "duration_seconds": round(duration(), 3)})

    def _verify(self, observation: Observation, *, has_migrated: bool) -> None:
        """Believe what is read; the columns, which take Airflow seconds to tell, after a migration only."""
        verify.demand(
            verify.findings(
                observation,
                self._observer.wanted,
                self._database,
                probe=directories.probe,
                model=self._observer.model if has_migrated else None,
            )
        )

    def _note_start(self, observation: Observation, steps: Sequence[Step]) -> None:
        self._report.airflow_version = observation.image.airflow_version
        self._report.state_before = str(observation.database)
        self._report.from_revisions = tuple(sorted(observation.database.revisions))
        self._report.to_revisions = tuple(sorted(observation.database.heads))
        self._report.position_before = observation.database.position
        self._report.planned = tuple(str(step) for step in steps)

    def _document(self) -> dict[str, Any]:
        self._report.snapshot = self._safety.snapshot
        self._report.writers = self._safety.stopped
        return self._report.document()

    def _end(self, outcome: Outcome, error: Exception | None = None) -> None:
        self._report.finished = self._runtime.clock.now()
        self._report.outcome = outcome
        self._report.error = "" if error is None else str(error)
        self._report.exit_code = EXIT_OK
        if error is not None:
            self._report.exit_code = error.exit_code if isinstance(error, SidecarError) else EXIT_CRASH

    def _close(self, outcome: Outcome, error: Exception | None, *, started: float) -> None:
        self._end(outcome, error)
        self._events.finished(outcome, self._runtime.clock.monotonic() - started)

    def _write_report(self) -> None:
        if self._settings.report is not None:
            self._report.write(self._settings.report, self._runtime.aws)
