"""How far each file was accepted, on disk: one row per *generation*, a file and one life of it.

A truncated file starts the next generation. Offsets only move after Firehose accepted, through the
:class:`~log_forwarder.ledger.Ledger`; this is the :class:`~log_forwarder.inputs.base.Keeper` of files.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from log_forwarder.fingerprint import Place, digest
from log_forwarder.inputs.base import Keeper, Kind, Origin, Span
from log_forwarder.state import Row, State

_PURGE_AFTER_DAYS = 7
# A volume that comes back on another device leaves rows that nothing proves gone.
_PURGE_ANYWAY_AFTER_DAYS = 90

_COLUMNS = (
    "generation, source, path, device, inode, head_bytes, head_digest,"
    " offset, parts_before, marker_bytes, marker_digest, changed_ns"
)
_KEEP = (
    "UPDATE files SET offset = :offset, parts_before = :parts_before,"
    " head_digest = iif(:head_bytes > head_bytes, :head_digest, head_digest),"
    " head_bytes = max(head_bytes, :head_bytes),"
    " marker_bytes = :marker_bytes, marker_digest = :marker_digest, changed_ns = :changed_ns,"
    " committed_at = CURRENT_TIMESTAMP WHERE generation = :generation"
)


@dataclass(frozen=True, slots=True)
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
        changed_ns: the inode's change time when what is before ``offset`` was read.
    """

    generation: int
    source: str
    path: str
    device: int
    inode: int
    head_bytes: int
    head_digest: bytes
    offset: int = 0
    parts_before: int = 0
    marker_bytes: int = 0
    marker_digest: bytes = b""
    changed_ns: int = 0


class Newcomer(NamedTuple):
    """A file that was not read before: where it is, its identity, and how it begins."""

    path: str
    device: int
    inode: int
    head: bytes


class FileOrigin(Origin):
    """A generation of a file, as an origin of lines.

    Attributes:
        generation: its row.
        accepted: the offset before which everything was accepted and written down.
    """

    __slots__ = ("accepted", "generation")

    def __init__(
        self,
        *,
        known: Known,
        kind: Kind,
        keeper: Keeper,
        about: Mapping[str, object],
    ) -> None:
        super().__init__(source=known.source, path=known.path, kind=kind, keeper=keeper, about=about)
        self.generation = known.generation
        self.accepted = known.offset


class Checkpoints:
    """The files of a state directory. Every method may be called from any thread."""

    def __init__(self, state: State) -> None:
        self._state = state

    def find(self, inode: int) -> list[Known]:
        """Return what is known about files that had this inode number, the latest first."""
        query = f"SELECT {_COLUMNS} FROM files WHERE inode = ? ORDER BY generation DESC"  # noqa: S608 - a constant
        return [_known(row) for row in self._state.read(query, (inode,))]

    def register(self, newcomers: Sequence[Newcomer]) -> list[Known]:
        """Give new files, or new lives of files, their generations. Durable when this returns.

        That comes before their first lines are sent: after kill -9 the same lines get the same ids.

        Raises:
            Transient: none of them can be written down now.
        """
        with self._state.writing() as db:
            return [_insert(db, self._state.instance, newcomer) for newcomer in newcomers]

    def keep(self, spans: Sequence[Span]) -> None:
        """Write down how far files were accepted; durable when this returns.

        Raises:
            Transient: it cannot be written down now.
        """
        with self._state.writing() as db:
            db.executemany(_KEEP, [_row(span) for span in spans])
        for span in spans:
            if isinstance(span.origin, FileOrigin):
                span.origin.accepted = max(span.origin.accepted, span.end)

    def forget(self, generations: Iterable[int]) -> None:
        """Drop files that no longer exist, or lives of them that are over.

        Raises:
            Transient: it cannot be written down now.
        """
        with self._state.writing() as db:
            db.executemany(
                "DELETE FROM files WHERE generation = ?", [(generation,) for generation in generations]
            )

    def purge(self, *, is_there: Callable[[int], bool]) -> None:
        """Drop what is known of files that are gone and were not touched for days.

        Args:
            is_there: whether a scan found a file with this inode number, by whatever name.

        Raises:
            Transient: it cannot be written down now.
        """
        old = self._state.read(
            "SELECT generation, path, device, inode, committed_at < datetime('now', ?) FROM files"
            " WHERE committed_at < datetime('now', ?)",
            (f"-{_PURGE_ANYWAY_AFTER_DAYS} days", f"-{_PURGE_AFTER_DAYS} days"),
        )
        gone = [
            (generation,)
            for generation, path, device, inode, is_very_old in old
            if not is_there(inode) and (is_very_old or _is_gone(path, device))
        ]
        with self._state.writing() as db:
            db.executemany("DELETE FROM files WHERE generation = ?", gone)


def _insert(db: sqlite3.Connection, instance: str, new: Newcomer) -> Known:
    head_digest = digest(new.head)
    cursor = db.execute(
        "INSERT INTO files (source, path, device, inode, head_bytes, head_digest) VALUES ('', ?, ?, ?, ?, ?)",
        (os.fsencode(new.path), new.device, new.inode, len(new.head), head_digest),
    )
    generation = int(cursor.lastrowid or 0)
    source = digest(f"{instance} {generation} {new.device} {new.inode} ".encode() + head_digest).hex()
    db.execute("UPDATE files SET source = ? WHERE generation = ?", (source, generation))
    return Known(generation, source, new.path, new.device, new.inode, len(new.head), head_digest)


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


def _known(row: Row) -> Known:
    generation, source, path, *rest = row
    return Known(generation, source, os.fsdecode(path), *rest)


def _row(span: Span) -> dict[str, int | bytes]:
    """Return what is stored of the place at the end of ``span``; a head only ever gets longer."""
    if not isinstance(span.origin, FileOrigin) or not isinstance(span.position, Place):
        raise TypeError(f"{span.origin!r} is no file, or {span.position!r} no place in one")
    place = span.position
    head = place.head or b""
    return {
        "generation": span.origin.generation,
        "offset": span.end,
        "parts_before": place.parts,
        "head_bytes": len(head),
        "head_digest": digest(head),
        "marker_bytes": len(place.marker),
        "marker_digest": digest(place.marker),
        "changed_ns": place.changed_ns,
    }
