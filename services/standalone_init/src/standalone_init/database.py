"""Connections to Airflow's database: patient with an absent server, impatient with a wrong password."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg

from sidecar.clock import Clock, Stop
from sidecar.errors import ConfigError, Transient
from sidecar.loop import backoff_seconds
from sidecar.postgres import Database, LoginRefusedError
from sidecar.secrets import Secret, mask
from standalone_init.errors import DatabaseUnreachable, LoginRefused, TryAgain

APPLICATION = "standalone-init"
_STATEMENT_TIMEOUT = "-c statement_timeout=15000"  # milliseconds; these are small readings
_READ_ONLY = f"{_STATEMENT_TIMEOUT} -c default_transaction_read_only=on"
_RETRY_FIRST_SECONDS = 0.5
_RETRY_MAX_SECONDS = 10.0


class AirflowDatabase:
    """Opens connections within a budget.

    Args:
        budget_seconds: how long an unreachable server is tried again.
        tell_unreachable: called before each further try with the cause and the pause in seconds.
    """

    def __init__(
        self,
        source: Secret,
        *,
        budget_seconds: float,
        clock: Clock,
        stop: Stop,
        rng: random.Random,
        tell_unreachable: Callable[[str, float], None],
    ) -> None:
        self._database = Database(source, application_name=f"{APPLICATION}@{socket.gethostname()}"[:63])
        self._budget_seconds = budget_seconds
        self._clock = clock
        self._stop = stop
        self._rng = rng
        self._tell_unreachable = tell_unreachable

    def url(self) -> str:
        """Return the URL for Airflow itself; a secret."""
        return self._database.url()

    @contextmanager
    def reader(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection that the server itself keeps from writing."""
        with self._opened(_READ_ONLY) as connection, translated():
            yield connection

    @contextmanager
    def writer(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection that may write."""
        with self._opened(_STATEMENT_TIMEOUT) as connection, translated():
            yield connection

    @contextmanager
    def _opened(self, options: str) -> Iterator[psycopg.Connection[Any]]:
        with ExitStack() as stack:
            yield self._open(stack, options)

    def _open(self, stack: ExitStack, options: str) -> psycopg.Connection[Any]:
        """Open within the budget.

        Raises:
            ConfigError: no such database, no usable URL.
            LoginRefused: wrong user or password.
            DatabaseUnreachable: the budget is used up.
            TryAgain: told to stop.
        """
        deadline = self._clock.monotonic() + self._budget_seconds
        failures = 0
        while True:
            try:
                return stack.enter_context(self._database.connect(options=options))
            except LoginRefusedError as err:
                raise LoginRefused(err.what, why=err.why, remedy=err.remedy) from None
            except Transient as err:
                failures += 1
                pause = backoff_seconds(
                    failures, base_seconds=_RETRY_FIRST_SECONDS, cap_seconds=_RETRY_MAX_SECONDS, rng=self._rng
                )
                if self._clock.monotonic() + pause > deadline:
                    raise DatabaseUnreachable(
                        f"The database did not answer within {self._budget_seconds:g} s",
                        why=err.why,
                        remedy=err.remedy,
                    ) from None
                self._tell_unreachable(err.why, pause)
                if self._stop.wait_in_thread(pause):
                    raise TryAgain(
                        "Stopped while waiting for the database", why=err.why, remedy="Run again"
                    ) from None


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises in the block into an error a person can act on."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as err:
        raise ConfigError(
            "The database user may not do this",
            why=mask(" ".join(str(err).split())),
            remedy="Give Airflow's user its own database, or GRANT it CREATE on the database and its schema",
        ) from None
    except psycopg.Error as err:
        raise TryAgain(
            "The database broke off",
            why=mask(f"{type(err).__name__}: {' '.join(str(err).split())}"),
            remedy="Run again: it continues where it stopped",
        ) from None
