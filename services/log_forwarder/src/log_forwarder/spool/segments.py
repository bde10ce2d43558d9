"""The files of a spool: named by the position they begin at, cut at a torn tail, deleted from the oldest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from log_forwarder.spool.records import HEADER, next_record, wanted_bytes, whole_records

_SUFFIX = ".spool"
_BLOCK_BYTES = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Segment:
    """One file of a spool.

    Attributes:
        path: where it is.
        start: position of its first byte.
        size_bytes: how long it is.
    """

    path: Path
    start: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The position after its last byte."""
        return self.start + self.size_bytes


def segment_path(directory: Path, start: int) -> Path:
    """Return where the segment that begins at ``start`` is; names sort as positions do."""
    return directory / f"{start:020d}{_SUFFIX}"


def list_segments(directory: Path) -> list[Segment]:
    """Return what is there, oldest first."""
    return [
        Segment(path=path, start=int(path.stem), size_bytes=path.stat().st_size)
        for path in sorted(directory.glob(f"[0-9]*{_SUFFIX}"))
        if path.stem.isdecimal()
    ]


def cut_torn_tail(segment: Segment) -> int:
    """Cut what follows the last whole record; return how many bytes that were.

    Idempotent. What was acknowledged was on disk before, so nothing that is cut was. Damage before a whole
    record is no torn tail: it stays, and is passed over by who reads it.

    Raises:
        OSError: the segment cannot be read or cut.
    """
    descriptor = os.open(segment.path, os.O_RDWR)
    try:
        good = 0
        while (end := _last_whole(descriptor, good)) > good or (end := _behind_damage(descriptor, good)):
            good = end
        torn = segment.size_bytes - good
        if torn:
            os.ftruncate(descriptor, good)
            os.fsync(descriptor)
            segment.size_bytes = good
        return torn
    finally:
        os.close(descriptor)


def _behind_damage(descriptor: int, at: int) -> int:
    """Return where the next whole record begins behind the damage at ``at``; 0 when none does."""
    found = next_record(os.pread(descriptor, os.fstat(descriptor).st_size - at, at))
    return 0 if found is None else at + found


def _last_whole(descriptor: int, at: int) -> int:
    """Return the end of the last whole record in the next block (or of one longer record) from ``at``."""
    data = os.pread(descriptor, _BLOCK_BYTES, at)
    wanted = wanted_bytes(data)
    if wanted > len(data) >= HEADER.size:
        data = os.pread(descriptor, wanted, at)
    end = at
    for entry in whole_records(data, at=at):
        end = entry.end
    return end
