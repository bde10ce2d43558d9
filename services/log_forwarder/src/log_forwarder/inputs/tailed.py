"""One followed file: where we are in it, and how we know that it is still the same one."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from log_forwarder.checkpoints import Known
from log_forwarder.fingerprint import HEAD_BYTES, MARKER_BYTES, Fingerprint, digest
from log_forwarder.framing import Piece
from log_forwarder.inputs.discovery import Sighting

_LONG_AGO = float("-inf")


@dataclass(slots=True, kw_only=True, eq=False)
class TailedFile:
    """The state of one followed file.

    Attributes:
        path: where it was last seen.
        device, inode: its identity while it exists.
        size_bytes, changed_ns: as last seen.
        grew_at: when its size was last seen to change (monotonic seconds).
        known: its generation; None until bytes of this life were read.
        offset: everything before it was handed on (not: accepted).
        parts_before: parts of the line at ``offset`` that were handed on.
        marker: the bytes right before ``offset``, compared at every read.
        is_proven: whether its content was compared since its name was opened; an inode number alone
            proves nothing, a removed file's is given to the next one.
        descriptor: open, while there are enough of them (see ``open_files``).
        is_named: whether the last scan found it.
        waits_for_growth: what is unread was seen to be an unfinished line; nothing to do until it grows.
        could_not_read: the last try failed; the next scan tries again.
        failed_reads: tries in a row that failed.
    """

    path: str
    device: int
    inode: int
    size_bytes: int
    changed_ns: int
    grew_at: float
    known: Known | None = None
    offset: int = 0
    parts_before: int = 0
    marker: bytes = b""
    is_proven: bool = False
    descriptor: int | None = None
    is_named: bool = True
    waits_for_growth: bool = False
    could_not_read: bool = False
    failed_reads: int = 0
    _has_changed: bool = True

    @property
    def unread_bytes(self) -> int:
        """How much was not handed on yet."""
        return max(0, self.size_bytes - self.offset)

    @property
    def has_work(self) -> bool:
        """Whether a read may bring something, or find that this is another file now."""
        if self.could_not_read:
            return False
        if self.size_bytes < self.offset or self._has_changed:
            return True
        return self.unread_bytes > 0 and not self.waits_for_growth

    def observe(self, sighting: Sighting, now: float) -> None:
        """Take note of what a scan saw."""
        self.path = sighting.path
        if sighting.changed_ns != self.changed_ns and sighting.size_bytes == self.size_bytes:
            self.is_proven = False
            self._has_changed = True
        self.changed_ns = sighting.changed_ns
        self.observe_size(sighting.size_bytes, now)

    def observe_size(self, size_bytes: int, now: float) -> None:
        """Take note of the size."""
        if size_bytes != self.size_bytes:
            self.size_bytes = size_bytes
            self.grew_at = now
            self.waits_for_growth = False

    def resume(self, known: Known) -> None:
        """Go on where an earlier process, or an earlier name, left off."""
        self.known = known
        self.offset = known.offset
        self.parts_before = known.parts_before
        if self.size_bytes == known.offset:
            self.grew_at = _LONG_AGO

    def restart(self) -> None:
        """Go back to the start, as another file."""
        self.known = None
        self.offset = 0
        self.parts_before = 0
        self.marker = b""
        self.waits_for_growth = False

    def looked_at(self) -> None:
        """Take note that its content was compared."""
        self.is_proven = True
        self._has_changed = False

    def hand_on(self, piece: Piece, fingerprint: Fingerprint) -> None:
        """Move behind ``piece``, where the file has this fingerprint."""
        self.offset = piece.end
        self.parts_before = piece.parts_after
        self.marker = fingerprint.marker
        head = fingerprint.head
        if head is not None and self.known is not None and len(head) > self.known.head_bytes:
            self.known = replace(self.known, head_bytes=len(head), head_digest=digest(head))


def continues(file: TailedFile, descriptor: int) -> bool:
    """Say whether an open file still holds what was read before ``file.offset``.

    A file whose content was compared since it was opened is only asked for its size and, at every read,
    for its marker: growth of a hot file must stay cheap.
    """
    known = file.known
    if file.size_bytes < file.offset:
        return False
    if known is None or file.is_proven:
        return True
    if digest(os.pread(descriptor, known.head_bytes, 0)) != known.head_digest:
        return False
    if file.marker or not file.offset:
        return True  # the read itself compares it
    marker_bytes = min(MARKER_BYTES, file.offset)
    marker = os.pread(descriptor, marker_bytes, file.offset - marker_bytes)
    file.marker = marker
    return digest(marker[len(marker) - known.marker_bytes :]) == known.marker_digest


def fingerprint(file: TailedFile, descriptor: int) -> Fingerprint:
    """Return the fingerprint at ``file.offset``; its head only while more of it is to be learned.

    Raises:
        OSError: the file cannot be read now.
    """
    if file.known is None or file.known.head_bytes >= HEAD_BYTES:
        return Fingerprint(None, file.marker)
    return Fingerprint(os.pread(descriptor, min(HEAD_BYTES, file.offset), 0), file.marker)
