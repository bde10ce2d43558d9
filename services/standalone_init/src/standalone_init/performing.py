"""Does one step. Which there are, and in what order, is the plan's; what lies between them is ``apply``'s."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg

from sidecar.app import Runtime
from sidecar.loop import backoff_seconds
from sidecar.secrets import Secret
from standalone_init.airflow_cli import AirflowCli
from standalone_init.database import AirflowDatabase
from standalone_init.events import Events
from standalone_init.keys import fernet, rows
from standalone_init.keys.keyring import Keyring
from standalone_init.lock import RunLock
from standalone_init.migration import Migration, Patience
from standalone_init.observe import Observer
from standalone_init.plan import (
    EnsureSecret,
    MakeDirectory,
    Migrate,
    StartWriters,
    Step,
    StopWriters,
    SyncObjects,
    TakeSnapshot,
    WriteCanary,
    WritePasswords,
)
from standalone_init.safety import Safety
from standalone_init.settings import StandaloneInitSettings
from standalone_init.steps import directories, passwords
from standalone_init.steps.migrate import migrate
from standalone_init.watch import Watch, old_transactions

_OLD_TRANSACTION = timedelta(seconds=30)
_RETRY_FIRST_SECONDS = 1.0
_RETRY_MAX_SECONDS = 15.0


class Performer:
    """Does steps; each is idempotent."""

    def __init__(
        self,
        *,
        settings: StandaloneInitSettings,
        runtime: Runtime,
        observer: Observer,
        airflow: AirflowCli,
        database: AirflowDatabase,
        keyring: Keyring,
        safety: Safety,
        events: Events,
    ) -> None:
        self._safety = safety
        self._settings = settings
        self._runtime = runtime
        self._observer = observer
        self._airflow = airflow
        self._database = database
        self._keyring = keyring
        self._events = events

    def perform(self, step: Step, lock: RunLock, connection: psycopg.Connection[Any]) -> None:
        """Do one step.

        Args:
            step: from a plan made while this lock was held.
            lock: held.
            connection: the one that holds it.

        Raises:
            SidecarError: what stood in the way; the step can be done again.
        """
        match step:
            case EnsureSecret(purpose=purpose):
                self._keyring.ensure(purpose)
            case StopWriters(position=position):
                self._safety.stop(connection, position=position)
            case TakeSnapshot():
                self._safety.take(step, connection)
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
            case StartWriters():
                self._safety.start(connection)

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
