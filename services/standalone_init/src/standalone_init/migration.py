"""Runs ``airflow db migrate`` and looks after it until it has ended, by itself or because it was told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from sidecar.clock import Clock, Stop
from sidecar.secrets import remember
from standalone_init.airflow_cli import AirflowCli
from standalone_init.child import Child
from standalone_init.errors import MigrationFailed, TryAgain
from standalone_init.watch import MIGRATION_APPLICATION, Watch

_POLL_SECONDS = 0.1
# The chassis ends the process at stop_timeout_seconds; the child must be gone before.
_SHARE_OF_STOP_TIMEOUT = 0.8
# Of that; what is left is for the child's own end.
_SHARE_FOR_THE_REVISION = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call of Airflow ended. Its exit code is a hint, never a proof."""

    exit_code: int
    last_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what may take.

    Attributes:
        migrate_seconds: the whole migration; it and all it started is ended when it takes longer.
        ddl_lock_seconds: one statement's wait for a lock. While an ALTER TABLE waits behind an old
            transaction, every new reader of that table waits behind the ALTER TABLE.
        stop_seconds: from the order to stop to the end of this process.
    """

    migrate_seconds: float
    ddl_lock_seconds: float
    stop_seconds: float


class Migration:
    """Migrates with the Airflow of this image.

    Args:
        airflow: that Airflow.
        patience: how long what may take.
        tell: called with each line of output, on another thread.
        stop: the order to stop.
    """

    def __init__(
        self,
        airflow: AirflowCli,
        *,
        patience: Patience,
        tell: Callable[[str], None],
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._airflow = airflow
        self._patience = patience
        self._tell = tell
        self._clock = clock
        self._stop = stop

    def run(self, *, database_url: str, watch: Watch) -> Ended:
        """Run it to its end. Safe to repeat: Airflow commits each revision by itself.

        Args:
            database_url: with the password; it reaches the child through its environment alone.
            watch: looks at it while it runs.

        Raises:
            MigrationFailed: it took too long and was ended.
            TryAgain: the order to stop came; the revision under way was given the time to finish, then it was
                ended; the next run continues.
        """
        remember(database_url)
        remember(urlsplit(database_url).password or "")
        environ = self._airflow.environ
        options = f"-c lock_timeout={int(self._patience.ddl_lock_seconds * 1000)}"
        child = Child(
            self._airflow.command("db", "migrate"),
            environ={
                **environ,
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
                # https://www.postgresql.org/docs/current/libpq-envars.html
                "PGAPPNAME": MIGRATION_APPLICATION,
                "PGOPTIONS": f"{environ.get('PGOPTIONS', '')} {options}".strip(),
            },
            tell=self._tell,
            clock=self._clock,
        )
        try:
            self._wait(child, watch)
        finally:
            child.close()
        return Ended(exit_code=child.exit_code, last_lines=child.last_lines)

    def _wait(self, child: Child, watch: Watch) -> None:
        deadline = self._clock.monotonic() + self._patience.migrate_seconds
        while child.is_running:
            if self._stop.wait_in_thread(_POLL_SECONDS):
                self._finish_revision(child, watch)
                raise TryAgain(
                    "Stopped during 'airflow db migrate'",
                    why=f"{self._stop.reason} was received, at revision {watch.revision() or 'none'}",
                    remedy="Run again: it continues after the last revision that was committed",
                )
            watch.look()
            if self._clock.monotonic() > deadline:
                child.end(self._patience.stop_seconds * _SHARE_OF_STOP_TIMEOUT)
                raise MigrationFailed(
                    "'airflow db migrate' was ended because it took longer than"
                    f" {self._patience.migrate_seconds:g} s",
                    why="; ".join(map(str, watch.blockers)) or "a table is large, or the server is slow",
                    remedy="Look at pg_stat_activity for old transactions, raise"
                    " STANDALONE_INIT_MIGRATE_TIMEOUT_SECONDS, run again: it continues where it stopped",
                )

    def _finish_revision(self, child: Child, watch: Watch) -> None:
        """End it after the revision under way, or when the time is up: then that one is rolled back whole."""
        started = self._clock.monotonic()
        budget = self._patience.stop_seconds * _SHARE_OF_STOP_TIMEOUT
        at = watch.revision()
        pause = threading.Event()
        while (
            child.is_running
            and self._clock.monotonic() - started < budget * _SHARE_FOR_THE_REVISION
            and watch.revision() == at
        ):
            pause.wait(_POLL_SECONDS)
        child.end(max(0.0, budget - (self._clock.monotonic() - started)))
