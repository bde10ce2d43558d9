"""What a PostgreSQL server has on disk: who may use it, where it lies, and how it comes to be."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO

from local_cloud.parent import tied
from local_cloud.postgres_binaries import PostgresBinaries
from local_cloud.unprivileged import Account, reachable_home

SUPERUSER = "postgres"
_INITDB_TIMEOUT_SECONDS = 120
_OUTPUT_TAIL_CHARACTERS = 4_000


class PostgresError(RuntimeError):
    """The server did not come up or go down. The text holds the last lines that it said."""


class PostgresData:
    """The directory of one server: lock, password and log are ours, ``data`` is the server's.

    Args:
        home: absolute; made when missing.
        account: who the server runs as.
    """

    def __init__(self, home: Path, account: Account) -> None:
        self.home = home
        self._account = account
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Be the only live process with this data, so that a server found running there is a leftover.

        Raises:
            PostgresError: another live process has it.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        lock = (self.home / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            lock.close()
            raise PostgresError(
                f"another live process uses {self.home}: end that one, or give this one its own data_dir"
            ) from err
        self._lock = lock

    def unlock(self) -> None:
        """Let others use it; idempotent."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def place(self) -> Path:
        """The server's own directory, made when missing at a place the server's user can reach."""
        self.home.chmod(0o711 if self._account.is_other else 0o700)
        link = self.home / "data"
        if link.exists():
            return link.resolve()
        link.unlink(missing_ok=True)  # its target was cleaned away
        if self._account.can_enter(self.home):
            data = link
        else:
            common = reachable_home(self._account)
            _sweep(common)
            data = common / f"data-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}"
            shutil.rmtree(data, ignore_errors=True)  # of a directory of this name that was removed since
            _origin_of(data).write_text(str(self.home))
        data.mkdir()
        self._account.owns(data, mode=0o700)
        if data != link:
            link.symlink_to(data)
        return data

    def initialise(self, binaries: PostgresBinaries) -> str:
        """Make the data unless it is whole, and give the superuser's password. After :meth:`place`.

        Raises:
            PostgresError: it cannot be made, or it is of another major version.
        """
        data = (self.home / "data").resolve()
        password_file = self.home / "password"
        # The password is kept when initdb is done, so its file says that the data is whole. PG_VERSION does
        # not: initdb writes that first.
        if not password_file.exists() or not (data / "PG_VERSION").exists():
            password = secrets.token_urlsafe(24)
            self._run_initdb(data, binaries, password)
            _write_private(password_file, password)
        written_by = (data / "PG_VERSION").read_text().strip()
        if written_by != str(binaries.major):
            raise PostgresError(
                f"the data in {self.home} is of PostgreSQL {written_by} and this is {binaries.major}, which "
                "cannot read it: remove that directory, it will be made again"
            )
        return password_file.read_text()

    def remove(self) -> None:
        """Remove it all; idempotent."""
        data = (self.home / "data").resolve()
        shutil.rmtree(data, ignore_errors=True)
        if data.parent != self.home.resolve():
            _origin_of(data).unlink(missing_ok=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def _run_initdb(self, data: Path, binaries: PostgresBinaries, password: str) -> None:
        for leftover in data.iterdir():  # of an initdb that was killed
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        handed_over = data.with_name(
            f"{data.name}.password"
        )  # initdb runs as another user, who cannot read ours
        _write_private(handed_over, password)
        self._account.owns(handed_over, mode=0o600)
        command = [str(binaries.directory / "initdb"), "--no-sync", "--no-locale", "--encoding=UTF8"]
        command += ["--auth=scram-sha-256", f"--username={SUPERUSER}", f"--pwfile={handed_over}"]
        command += [f"--pgdata={data}"]
        try:
            done = subprocess.run(
                tied(command, ending=signal.SIGKILL, uid=self._account.uid, gid=self._account.gid),
                check=False,
                capture_output=True,
                text=True,
                cwd="/",
                timeout=_INITDB_TIMEOUT_SECONDS,
            )
        finally:
            handed_over.unlink()
        if done.returncode != 0:
            raise PostgresError(f"initdb failed: {(done.stdout + done.stderr)[-_OUTPUT_TAIL_CHARACTERS:]}")


def _origin_of(data: Path) -> Path:
    """The note beside data that was placed elsewhere: for whom."""
    return data.with_name(f"{data.name}.origin")


def sweep_all() -> None:
    """Remove everything placed elsewhere that no home needs any more; for ``make clean``. Idempotent."""
    account = Account.for_servers()
    if not account.is_other:
        return
    common = reachable_home(account)
    _sweep(common)
    if not any(common.glob("data-*")):
        shutil.rmtree(common, ignore_errors=True)


def _sweep(common: Path) -> None:
    """Remove placed data whose home was removed: nobody will ever come back for it."""
    for note in common.glob("data-*.origin"):
        if not Path(note.read_text()).exists():
            shutil.rmtree(note.with_suffix(""), ignore_errors=True)
            note.unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
