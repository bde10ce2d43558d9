"""The state directory: one forwarder at a time, one SQLite file that survives kill -9 at any instruction.

WAL mode; why not one file replaced by rename: Airflow leaves 100,000 files behind, and an offset moves
many times a second; that would rewrite 15 MB each time, where a commit here costs 0.2 ms.
``synchronous=NORMAL`` loses nothing when the process dies; after a power cut the last commits may be
missing, which repeats lines and loses none. The exclusive lock lets WAL do without shared memory.
"""

from __future__ import annotations

import fcntl
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sidecar.errors import ConfigError, Transient

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instance (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    generation    INTEGER PRIMARY KEY AUTOINCREMENT,
    source        TEXT NOT NULL,
    path          BLOB NOT NULL,
    device        INTEGER NOT NULL,
    inode         INTEGER NOT NULL,
    head_bytes    INTEGER NOT NULL,
    head_digest   BLOB NOT NULL,
    offset        INTEGER NOT NULL DEFAULT 0,
    parts_before  INTEGER NOT NULL DEFAULT 0,
    marker_bytes  INTEGER NOT NULL DEFAULT 0,
    marker_digest BLOB NOT NULL DEFAULT x'',
    changed_ns    INTEGER NOT NULL DEFAULT 0,
    committed_at  TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS files_by_inode ON files (inode);
CREATE TABLE IF NOT EXISTS plans (id TEXT PRIMARY KEY, number INTEGER NOT NULL, plan TEXT NOT NULL);
"""
_SECOND_COLUMNS = "ALTER TABLE files ADD COLUMN changed_ns INTEGER NOT NULL DEFAULT 0"
DATABASE_NAME = "checkpoints.sqlite3"
_CACHE_KIB = 512
# A checkpoint waits for the disk, and files that live for a fifth of a second were missed meanwhile: 32 MB.
_CHECKPOINT_PAGES = 8_000

Row = tuple[Any, ...]


class StateInUseError(ConfigError):
    """Another forwarder runs on this state directory."""


class State:
    """An open state directory. Every method may be called from any thread.

    Attributes:
        instance: a random name that this directory got when it was made.
        trouble: why the last change could not be written down; None since one could.

    Raises:
        ConfigError: the directory cannot be used, or another forwarder uses it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trouble: Transient | None = None
        self._lock_file = _lock(directory)
        self._mutex = threading.Lock()
        self._path = directory / DATABASE_NAME
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as err:
            self._lock_file.close()
            raise self._unusable(err) from err
        try:
            self._prepare()
            self.instance = self._read_instance()
            self._db.execute("UPDATE instance SET id = id")  # a full volume is found now, not after sending
        except sqlite3.Error as err:
            self.close()
            raise self._unusable(err) from err

    def read(self, query: str, values: Iterable[object] = ()) -> list[Row]:
        """Return the rows of a query."""
        with self._mutex:
            return self._db.execute(query, tuple(values)).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Change several rows at once; durable when the block ends.

        Raises:
            Transient: nothing was changed, for example because the volume is full; a retry may help.
        """
        with self._mutex:
            try:
                self._db.execute("BEGIN")
                yield self._db
                self._db.execute("COMMIT")
                self.trouble = None
            except sqlite3.Error as err:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self.trouble = Transient(
                    f"Cannot write to {self._path}",
                    why=str(err),
                    remedy="Free or repair the volume; sending waits for it, so that nothing is sent twice",
                )
                raise self.trouble from err
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file and let another process in. Idempotent."""
        with self._mutex:
            self._db.close()
            self._lock_file.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        self._db.executescript(_SCHEMA)
        if "changed_ns" not in [row[1] for row in self._db.execute("PRAGMA table_info(files)")]:
            self._db.execute(_SECOND_COLUMNS)

    def _read_instance(self) -> str:
        row = self._db.execute("SELECT id FROM instance").fetchone()
        if row is None:
            row = (secrets.token_hex(16),)
            self._db.execute("INSERT INTO instance (id) VALUES (?)", row)
        return str(row[0])

    def _unusable(self, err: sqlite3.Error) -> ConfigError:
        return ConfigError(
            f"Cannot use the offsets in {self._path}",
            why=str(err),
            remedy="Free or repair the volume; or remove the file, which ships every file again",
        )


def _lock(directory: Path) -> BinaryIO:
    doing = f"Cannot use the state directory {directory}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "lock").open("ab")
    except OSError as err:
        raise ConfigError(
            doing,
            why=err.strerror or str(err),
            remedy="Mount a volume there that this user may write, or set LOG_FORWARDER_STATE_DIR",
        ) from err
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        file.close()
        raise StateInUseError(
            doing,
            why="another log-forwarder holds it",
            remedy="Give each forwarder a directory of its own; two on one would send lines twice",
        ) from err
    return file
