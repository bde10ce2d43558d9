"""By what a file is known again: how it begins, and what stands right before an offset. Pure.

An inode number proves nothing: a removed file's is given to the next one, and a file may be rewritten in
place. Only digests are stored, so no log line is kept in the state.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

HEAD_BYTES = 1024
MARKER_BYTES = 64


class Place(NamedTuple):
    """A place in a file, and what must be known to go on there.

    Attributes:
        head: the file's first bytes, at most ``HEAD_BYTES``; None once they are known.
        marker: its last bytes before the place, at most ``MARKER_BYTES``.
        parts: parts of the line at the place that are already cut; 0 at the start of a line.
        changed_ns: the inode's change time when this was read.
    """

    head: bytes | None
    marker: bytes
    parts: int
    changed_ns: int


def place_within(place: Place, data: bytes, at: int) -> Place:
    """Return the place after the first ``at`` bytes of ``data``, which ends at ``place``; they end a line."""
    return place._replace(marker=data[max(0, at - MARKER_BYTES) : at], parts=0)


def digest(data: bytes) -> bytes:
    """Return a short digest, enough to know a place again."""
    return hashlib.blake2b(data, digest_size=8).digest()
