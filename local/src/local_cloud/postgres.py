"""A real PostgreSQL for tests and the demo, on a machine where none is installed.

The server listens on loopback alone, asks for a generated password, ends with the process that started it,
and comes up again on the same data after any ``kill -9``. It runs as ``nobody`` when we are root.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from local_cloud.parent import tied
from local_cloud.postgres_binaries import PostgresBinaries, find_binaries
from local_cloud.postgres_data import SUPERUSER, PostgresData, PostgresError
from local_cloud.unprivileged import Account

__all__ = ["Postgres", "PostgresError"]

_READY_TIMEOUT_SECONDS = 60
_POLL_SECONDS = 0.02
_START_ATTEMPTS = 5
_START_NOTED_WITHIN_SECONDS = 60
_LOG_TAIL_BYTES = 4_000
# What another start a moment later may find gone: a port taken between our look and the server's, or the
# children of a killed server that have not all ended.
_PASSING_TROUBLES = ("Address already in use", "pre-existing shared memory block")
# (signal, seconds it gets): fast shutdown, immediate shutdown, and what nothing survives.
# https://www.postgresql.org/docs/current/server-shutdown.html
_ENDINGS = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # loopback is enough, and a socket's path may be 107 bytes at most
    "max_connections": "200",  # Airflow's components hold about ten each
    "shared_buffers": "64MB",
    # The data is worth nothing after a power cut, and a killed server loses nothing by these three:
    # the kernel still has what was written.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",  # compiling costs more than the small queries of tests
}


class Postgres:
    """One PostgreSQL server and its data; a context manager that starts and stops it.

    Start it from a thread that lives as long as the server should: Linux ends the server with that thread.

    Args:
        data_dir: directory of this server alone, made when missing: log, password and data. The data itself
            lies in the system's temporary directory when the server's user cannot reach ``data_dir``
            (then ``data_dir/data`` is a link to it).
        port: TCP port on 127.0.0.1; 0 takes a free one at each start.
        binaries: the installation to use; by default the one that :func:`find_binaries` finds.
    """

    def __init__(self, *, data_dir: Path, port: int = 0, binaries: PostgresBinaries | None = None) -> None:
        self._account = Account.for_servers()
        self._data = PostgresData(data_dir.absolute(), self._account)
        self._wanted_port = port
        self._binaries = binaries
        self._port = 0
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it listens on; 0 before :meth:`start`."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it is started."""
        return self._process.pid if self._process else None

    @property
    def log_file(self) -> Path:
        """What the server said since its last start."""
        return self._data.home / "server.log"

    def start(self) -> None:
        """Return when the server answers; makes the data first when there is none.

        Raises:
            PostgresError: it did not come up, or another live process uses this data. A retry helps
                only when the text says so.
        """
        if self._process is not None:
            return
        try:
            self._data.lock()
            if self._binaries is None:
                self._binaries = find_binaries(self._account)
            directory = self._data.place()
            end_leftover(directory)
            self._password = self._data.initialise(self._binaries)
            self._launch(directory, self._binaries)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server, politely first; nothing happens when it is not started."""
        if self._process is not None:
            for ending, seconds in _ENDINGS:
                self._process.send_signal(ending)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(seconds)
                    break
            self._process = None
        self._port = 0
        self._data.unlock()

    def discard(self) -> None:
        """Stop and remove everything this server ever wrote."""
        self.stop()
        self._data.remove()

    def url(
        self,
        database: str = SUPERUSER,
        *,
        user: str = SUPERUSER,
        password: str | None = None,
        driver: str = "",
    ) -> str:
        """A connection URL, as libpq or (with ``driver="psycopg2"``) as SQLAlchemy reads it.

        Args:
            database: need not exist yet.
            user: a role; the superuser's password is known, another role's must be given.
            password: of ``user``.
            driver: SQLAlchemy's name of the driver.
        """
        if password is None:
            if user != SUPERUSER:
                raise ValueError(f"the password of role {user!r} is known only to who made it: give it")
            password = self._password
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return (
            f"{scheme}://{quote(user, '')}:{quote(password, '')}@127.0.0.1:{self._port}/{quote(database, '')}"
        )

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Make a database; ``template`` is copied as it is and must have no connections.

        Raises:
            psycopg.errors.DuplicateDatabase: it exists.
        """
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self._administer(statement)

    def drop_database(self, name: str) -> None:
        """Remove a database and end the connections to it; idempotent."""
        self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)

    def _launch(self, data: Path, binaries: PostgresBinaries) -> None:
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._port = self._wanted_port or _free_port()
            command = [str(binaries.directory / "postgres"), "-D", str(data), "-c", f"port={self._port}"]
            for name, value in _SETTINGS.items():
                command += ["-c", f"{name}={value}"]
            with self.log_file.open("wb") as log:
                self._process = subprocess.Popen(
                    tied(command, ending=signal.SIGINT, uid=self._account.uid, gid=self._account.gid),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,  # Ctrl-C is for us: the server must outlive our own clean-up
                )
            if self._is_ready(self._process):
                return
            trouble = self._log_tail()
            if attempt == _START_ATTEMPTS or not any(passing in trouble for passing in _PASSING_TROUBLES):
                raise PostgresError(f"PostgreSQL did not start ({self.log_file}), it said last:\n{trouble}")

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the server answers (True) or ended (False).

        Raises:
            PostgresError: neither happened in time.
        """
        for _ in range(int(_READY_TIMEOUT_SECONDS / _POLL_SECONDS)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
                return False
            with (
                contextlib.suppress(psycopg.OperationalError),
                psycopg.connect(self.url(), connect_timeout=2),
            ):
                return True
        raise PostgresError(
            f"PostgreSQL does not answer on 127.0.0.1:{self._port} after {_READY_TIMEOUT_SECONDS} s, "
            f"it said last:\n{self._log_tail()}"
        )

    def _log_tail(self) -> str:
        return self.log_file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")


def end_leftover(data: Path) -> None:
    """End the postmaster of an earlier run that still serves ``data``; idempotent.

    It is known by the process id in ``postmaster.pid`` *and* its start time and command line: the id alone
    may be anybody's by now.

    Raises:
        PostgresError: it cannot be ended.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid, _, started_at, *_ = pid_file.read_text().splitlines()
        leftover = psutil.Process(int(pid))
        # PostgreSQL notes its start a moment after the process began, later on a busy machine.
        began_then = abs(leftover.create_time() - int(started_at)) <= _START_NOTED_WITHIN_SECONDS
        is_same = began_then and str(data) in leftover.cmdline()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return  # PostgreSQL itself clears a file whose process is gone
    if not is_same:
        pid_file.unlink()  # PostgreSQL would take the stranger for a server and refuse to start
        return
    for ending, seconds in _ENDINGS:
        with contextlib.suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
            leftover.send_signal(ending)
            leftover.wait(seconds)
        if not leftover.is_running():
            return
    raise PostgresError(
        f"process {pid}, a PostgreSQL of an earlier run on {data}, does not end: end it by hand"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
