"""One run: look, plan, lock, look again, act, verify, record. Synchronous; ``__main__`` gives it a thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg

from sidecar.app import Runtime
from sidecar.errors import EXIT_CRASH, EXIT_OK, SidecarError
from sidecar.loop import backoff_seconds
from sidecar.secrets import Secret
from standalone_init import verify
from standalone_init.airflow_cli import AirflowCli
from standalone_init.database import AirflowDatabase
from standalone_init.errors import FilesUnusable, MigrationRunning, TryAgain
from standalone_init.events import Events
from standalone_init.keys import fernet, rows
from standalone_init.keys.keyring import Keyring
from standalone_init.lock import RunLock
from standalone_init.locking import run_lock
from standalone_init.migration import Migration, Patience
from standalone_init.observe import Observer
from standalone_init.plan import (
    EnsureSecret,
    MakeDirectory,
    Migrate,
    Observation,
    Step,
    SyncObjects,
    WriteCanary,
    WritePasswords,
    plan,
)
from standalone_init.record import Beginning, Record
from standalone_init.report import Outcome, Report
from standalone_init.settings import StandaloneInitSettings
from standalone_init.state import StateClass
from standalone_init.steps import directories, passwords
from standalone_init.steps.migrate import migrate
from standalone_init.watch import Watch, old_transactions

_OLD_TRANSACTION = timedelta(seconds=30)
_RETRY_FIRST_SECONDS = 1.0
_RETRY_MAX_SECONDS = 15.0


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
    """

    def __init__(
        self,
        *,
        settings: StandaloneInitSettings,
        runtime: Runtime,
        observer: Observer,
        airflow: AirflowCli,
        database: AirflowDatabase,
        keyring: Keyring,
        events: Events,
        choose: Choose = everything,
    ) -> None:
        self._choose = choose
        self._settings = settings
        self._runtime = runtime
        self._observer = observer
        self._airflow = airflow
        self._database = database
        self._keyring = keyring
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
            code = err.exit_code if isinstance(err, SidecarError) else EXIT_CRASH
            self._close(error=str(err), exit_code=code, outcome="failed", started=started)
            # What stood in the way is the news, not that the report could not be written on top of it.
            try:
                self._write_report()
            except FilesUnusable as second:
                self._events.report_not_written(second)
            raise
        self._close(error="", exit_code=EXIT_OK, outcome=outcome, started=started)
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
        try:
            for step in steps:
                lock.assert_held()
                record.phase(step.name)
                self._perform(step, lock, connection)
            record.phase("verify")
            has_migrated = any(isinstance(step, Migrate) for step in steps)
            lock.when_quiet(lambda: self._verify(self._observer.observe(), has_migrated=has_migrated))
        except SidecarError as err:
            with suppress(psycopg.Error):
                record.failed(err)
            raise
        record.done()

    def _perform(self, step: Step, lock: RunLock, connection: psycopg.Connection[Any]) -> None:
        started = self._runtime.clock.monotonic()
        match step:
            case EnsureSecret(purpose=purpose):
                self._keyring.ensure(purpose)
            case Migrate():
                self._migrate(lock)
            case WriteCanary():
                rows.write_canary(connection, fernet.canary(self._keyring.fernet_keys()[0]))
            case MakeDirectory(directory=directory):
                directories.make(directory)
                directories.probe(directory)
            case WritePasswords():
                passwords.write(step, self._admin_password())
            case SyncObjects():
                sync = self._observer.sync()
                changes = sync.plan(connection)
                sync.apply(connection, changes)
                self._events.objects_changed(changes)
        duration = self._runtime.clock.monotonic() - started
        self._report.done.append(
            {"step": step.name, "did": str(step), "duration_seconds": round(duration, 3)}
        )
        self._events.step_done(step, duration)

    def _migrate(self, lock: RunLock) -> None:
        migration = Migration(
            self._airflow,
            patience=Patience(
                migrate_seconds=self._settings.migrate_timeout_seconds,
                ddl_lock_seconds=self._settings.ddl_lock_timeout_seconds,
                stop_seconds=self._settings.stop_timeout_seconds,
            ),
            tell=self._events.airflow_said,
            clock=self._runtime.clock,
            stop=self._runtime.stop,
        )
        with self._database.reader() as connection:
            self._events.in_the_way(old_transactions(connection, _OLD_TRANSACTION))
            watch = Watch(connection, clock=self._runtime.clock, tell=self._events)
            migrate(
                run_airflow=lambda: migration.run(database_url=self._database.url(), watch=watch),
                wait_for_airflow=lock.wait_for_airflow,
                pause=self._pause,
                read_state=lambda: lock.when_quiet(self._observer.database_state),
                blockers=lambda: watch.blockers,
                tries=self._settings.ddl_lock_tries,
                events=self._events,
            )

    def _pause(self, failures: int) -> None:
        self._runtime.stop.wait_in_thread(
            backoff_seconds(
                failures,
                base_seconds=_RETRY_FIRST_SECONDS,
                cap_seconds=_RETRY_MAX_SECONDS,
                rng=self._runtime.rng,
            )
        )

    def _admin_password(self) -> Secret | None:
        literal, secret_id = self._settings.admin_password, self._settings.admin_password_secret_id
        if literal is None and secret_id is None:
            return None
        return self._runtime.secret(
            literal=literal.get_secret_value() if literal else None, secret_id=secret_id
        )

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
        self._report.planned = tuple(str(step) for step in steps)

    def _close(self, *, error: str, exit_code: int, outcome: Outcome, started: float) -> None:
        self._report.finished = self._runtime.clock.now()
        self._report.error = error
        self._report.exit_code = exit_code
        self._report.outcome = outcome
        self._events.finished(outcome, self._runtime.clock.monotonic() - started)

    def _write_report(self) -> None:
        if self._settings.report is not None:
            self._report.write(self._settings.report)
