"""How far each file was accepted, on disk. Survives kill -9 at any instruction.

SQLite in WAL mode, one row per *generation* (a file, and one life of it: a truncated file starts the
next). Why not one file replaced by rename: Airflow leaves 100,000 files behind, and an offset moves
many times a second; that would rewrite 15 MB each time, where a commit here costs 0.2 ms.
``synchronous=NORMAL`` loses nothing when the process dies; after a power cut the last commits may be
missing, which repeats lines and loses none. The exclusive lock lets WAL do without shared memory.

Offsets only move after Firehose accepted, through the :class:`~log_forwarder.ledger.Ledger`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from log_forwarder.batching import Record, Span
from log_forwarder.fingerprint import digest
from log_forwarder.ledger import Ledger
from sidecar.errors import ConfigError

_PURGE_AFTER_DAYS = 7
_PURGE_ANYWAY_AFTER_DAYS = (
    90  # a volume that comes back on another device leaves rows that nothing proves gone
)

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
    committed_at  TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS files_by_inode ON files (inode);
"""
_COLUMNS = (
    "generation, source, path, device, inode, head_bytes, head_digest,"
    " offset, parts_before, marker_bytes, marker_digest"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A file that was read before.

    Attributes:
        generation: number of this life of this file, never given twice.
        source: what its lines' ids begin with.
        path: where it was when it was first read.
        device, inode: its identity on this host, as long as it exists.
        head_bytes, head_digest: how it began, up to ``HEAD_BYTES`` once so much was accepted.
        offset: everything before it was accepted.
        parts_before: parts of the line at ``offset`` already accepted.
        marker_bytes, marker_digest: what stands right before ``offset``.
    """

    generation: int
    source: str
    path: str
    device: int
    inode: int
    head_bytes: int
    head_digest: bytes
    offset: int
    parts_before: int
    marker_bytes: int
    marker_digest: bytes


class Checkpoints:
    """The state directory. One process at a time; every method may be called from any thread.

    Raises:
        ConfigError: the directory cannot be used, or another forwarder uses it.
    """

    def __init__(self, directory: Path) -> None:
        self._lock_file = _lock(directory)
        self._mutex = threading.Lock()
        self._ledger = Ledger()
        path = directory / "checkpoints.sqlite3"
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as err:
            self._lock_file.close()
            raise _unusable(path, err) from err
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            self._instance = self._read_instance()
            self._db.execute("UPDATE instance SET id = id")  # a full volume is found now, not after sending
        except sqlite3.Error as err:
            self._db.close()
            self._lock_file.close()
            raise _unusable(path, err) from err

    def find(self, inode: int) -> list[Known]:
        """Return what is known about files that had this inode number, the latest first."""
        query = f"SELECT {_COLUMNS} FROM files WHERE inode = ? ORDER BY generation DESC"  # noqa: S608 - a constant
        with self._mutex:
            rows = self._db.execute(query, (inode,)).fetchall()
        return [_known(row) for row in rows]

    def resume(self, known: Known) -> None:
        """Go on with a file where it was left."""
        with self._mutex:
            self._ledger.open(known.generation, known.offset)

    def register(self, *, path: str, device: int, inode: int, head: bytes) -> Known:
        """Give a new file, or a new life of one, its generation. Durable when this returns.

        That comes before its first line is sent: after kill -9 the same lines get the same ids.
        """
        head_digest = digest(head)
        with self._mutex:
            self._db.execute("BEGIN")
            cursor = self._db.execute(
                "INSERT INTO files (source, path, device, inode, head_bytes, head_digest)"
                " VALUES ('', ?, ?, ?, ?, ?)",
                (os.fsencode(path), device, inode, len(head), head_digest),
            )
            generation = int(cursor.lastrowid or 0)
            identity = f"{self._instance} {generation} {device} {inode} ".encode() + head_digest
            source = digest(identity).hex()
            self._db.execute("UPDATE files SET source = ? WHERE generation = ?", (source, generation))
            self._db.execute("COMMIT")
            self._ledger.open(generation, 0)
        return Known(
            generation=generation,
            source=source,
            path=path,
            device=device,
            inode=inode,
            head_bytes=len(head),
            head_digest=head_digest,
            offset=0,
            parts_before=0,
            marker_bytes=0,
            marker_digest=b"",
        )

    def acknowledge(self, records: Iterable[Record]) -> None:
        """Take note that Firehose accepted these; durable when this returns."""
        with self._mutex:
            advanced = self._ledger.acknowledge(span for record in records for span in record.spans)
            self._db.execute("BEGIN")
            self._db.executemany(
                "UPDATE files SET offset = :offset, parts_before = :parts_before,"
                " head_digest = iif(:head_bytes > head_bytes, :head_digest, head_digest),"
                " head_bytes = max(head_bytes, :head_bytes),"
                " marker_bytes = :marker_bytes, marker_digest = :marker_digest,"
                " committed_at = CURRENT_TIMESTAMP WHERE generation = :generation",
                [_place(span) for span in advanced],
            )
            self._db.execute("COMMIT")

    def offset(self, generation: int) -> int:
        """Return the offset before which everything of a file was accepted."""
        with self._mutex:
            return self._ledger.offset(generation)

    def forget(self, generation: int) -> None:
        """Drop a file that no longer exists and was accepted to its end."""
        with self._mutex:
            self._ledger.forget(generation)
            self._db.execute("DELETE FROM files WHERE generation = ?", (generation,))

    def purge(self, *, seen_inodes: Container[int]) -> None:
        """Drop what is known of files that are gone and were not touched for days.

        Args:
            seen_inodes: of the files that a scan found, by whatever name.
        """
        with self._mutex:
            old = self._db.execute(
                "SELECT generation, path, device, inode, committed_at < datetime('now', ?) FROM files"
                " WHERE committed_at < datetime('now', ?)",
                (f"-{_PURGE_ANYWAY_AFTER_DAYS} days", f"-{_PURGE_AFTER_DAYS} days"),
            ).fetchall()
            gone = [
                (generation,)
                for generation, path, device, inode, is_very_old in old
                if inode not in seen_inodes and (is_very_old or _is_gone(path, device))
            ]
            self._db.execute("BEGIN")
            self._db.executemany("DELETE FROM files WHERE generation = ?", gone)
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file and let another process in. Idempotent."""
        with self._mutex:
            self._db.close()
            self._lock_file.close()

    def _read_instance(self) -> str:
        row = self._db.execute("SELECT id FROM instance").fetchone()
        if row is None:
            row = (secrets.token_hex(16),)
            self._db.execute("INSERT INTO instance (id) VALUES (?)", row)
        return str(row[0])


def _is_gone(path: bytes, device: int) -> bool:
    """Say whether a file was removed, and not only the volume it is on is not mounted.

    Its directory may be gone too; then the nearest one that is left must be on the file's device.
    """
    place = Path(os.fsdecode(path))
    if os.path.lexists(place):
        return False
    for directory in place.parents:
        try:
            return directory.stat().st_dev == device
        except FileNotFoundError:
            continue
        except OSError:
            break
    return False


def _known(row: tuple[int, str, bytes, int, int, int, bytes, int, int, int, bytes]) -> Known:
    return Known(
        generation=row[0],
        source=row[1],
        path=os.fsdecode(row[2]),
        device=row[3],
        inode=row[4],
        head_bytes=row[5],
        head_digest=row[6],
        offset=row[7],
        parts_before=row[8],
        marker_bytes=row[9],
        marker_digest=row[10],
    )


def _place(span: Span) -> dict[str, int | bytes]:
    """Return what is stored of the place at the end of ``span``; a head only ever gets longer."""
    head, marker = span.fingerprint.head or b"", span.fingerprint.marker
    return {
        "generation": span.generation,
        "offset": span.end,
        "parts_before": span.parts_after,
        "head_bytes": len(head),
        "head_digest": digest(head),
        "marker_bytes": len(marker),
        "marker_digest": digest(marker),
    }


def _unusable(path: Path, err: sqlite3.Error) -> ConfigError:
    return ConfigError(
        f"Cannot use the offsets in {path}",
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
        raise ConfigError(
            doing,
            why="another log-forwarder holds it",
            remedy="Give each forwarder a directory of its own; two on one would send lines twice",
        ) from err
    return file
