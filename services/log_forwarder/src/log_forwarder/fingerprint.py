"""By what a file is known again: how it begins, and what stands right before an offset. Pure.

An inode number proves nothing: a removed file's is given to the next one, and a file may be rewritten in
place. Only digests are stored, so no log line is kept in the state.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from log_forwarder.framing import Piece

HEAD_BYTES = 1024
MARKER_BYTES = 64


class Fingerprint(NamedTuple):
    """What a file holds before one offset. A tuple and not a dataclass: one is made per line.

    Attributes:
        head: its first bytes up to the offset, at most ``HEAD_BYTES``; None when they are known already.
        marker: its last bytes before the offset: ``MARKER_BYTES``, or all there are.
    """

    head: bytes | None
    marker: bytes

    def after(self, piece: Piece) -> Fingerprint:
        """Return the fingerprint at the end of ``piece``, which begins at this one's offset."""
        newline = b"\n" if piece.is_terminated else b""
        head = self.head
        if head is not None and len(head) < HEAD_BYTES:
            head = (head + piece.text[:HEAD_BYTES] + newline)[:HEAD_BYTES]
        return Fingerprint(head, (self.marker + piece.text[-MARKER_BYTES:] + newline)[-MARKER_BYTES:])


def digest(data: bytes) -> bytes:
    """Return a short digest, enough to know a place again."""
    return hashlib.blake2b(data, digest_size=8).digest()
