"""One followed file: where we are in it, how we know that it is still the same one, and its next bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from log_forwarder.checkpoints import FileOrigin, Known
from log_forwarder.fingerprint import HEAD_BYTES, MARKER_BYTES, Place, digest
from log_forwarder.inputs.discovery import Sighting

_LONG_AGO = float("-inf")
_GROWTH_SECONDS = 1.0
_MOST_GROWTHS = 16  # beyond, two become one


@dataclass(slots=True, eq=False)
class TailedFile:
    """The state of one followed file.

    Attributes:
        path: where it was last seen.
        device, inode: its identity while it exists.
        size_bytes, changed_ns: as last seen.
        grew_at: when its size was last seen to change (monotonic seconds).
        known: its generation; None until bytes of this life were read.
        origin: the same, as an origin of chunks.
        offset: everything before it was handed on (not: accepted).
        parts_before: parts of the line at ``offset`` that were handed on.
        marker: the bytes right before ``offset``, compared at every read.
        head_bytes: how much of the file's beginning its fingerprint covers.
        is_proven: whether its content was compared since its name was opened; an inode number alone
            proves nothing, a removed file's is given to the next one.
        descriptor: open, while there are enough of them.
        is_named: whether a name of it was there at the last look.
        has_changed: whether it changed since its content was last compared.
        failed_reads: tries in a row that failed.
        seen_in: number of the scan that last met it.
        growths: sizes that it had, and when it was seen to grow to them: as far as needed for its age.
    """

    path: str
    device: int
    inode: int
    size_bytes: int
    changed_ns: int
    grew_at: float
    known: Known | None = None
    origin: FileOrigin | None = None
    offset: int = 0
    parts_before: int = 0
    marker: bytes = b""
    head_bytes: int = 0
    is_proven: bool = False
    descriptor: int | None = None
    is_named: bool = True
    has_changed: bool = True
    failed_reads: int = 0
    seen_in: int = 0
    growths: list[tuple[int, float]] = field(default_factory=list)

    @property
    def unread_bytes(self) -> int:
        """How much was not handed on yet."""
        return max(0, self.size_bytes - self.offset)

    @property
    def accepted(self) -> int:
        """The offset before which everything was accepted."""
        return self.origin.accepted if self.origin else 0

    @property
    def is_done(self) -> bool:
        """Whether all that was seen of it was accepted, and it was compared since it last changed."""
        return not self.has_changed and self.accepted >= self.size_bytes == self.offset

    def observe(self, sighting: Sighting, now: float) -> None:
        """Take note of what a look saw."""
        self.path = sighting.path
        if sighting.changed_ns != self.changed_ns:
            self.has_changed = True
            if sighting.size_bytes == self.size_bytes:
                self.is_proven = False
        self.observe_size(sighting.size_bytes, sighting.changed_ns, now)

    def observe_size(self, size_bytes: int, changed_ns: int, now: float) -> None:
        """Take note of the size."""
        self.changed_ns = changed_ns
        if size_bytes != self.size_bytes:
            if size_bytes < self.size_bytes:
                self.growths.clear()
            self.note_growth(size_bytes, now)
            self.size_bytes = size_bytes
            self.grew_at = now
            self.has_changed = True

    def note_growth(self, size_bytes: int, at: float) -> None:
        """Take note of when bytes were first seen, to about a second."""
        growths = self.growths
        if len(growths) >= _MOST_GROWTHS:  # of two, the older moment: an age is never understated
            growths[:] = [
                (after[0], before[1]) for before, after in zip(growths[::2], growths[1::2], strict=True)
            ]
        if growths and at - growths[-1][1] < _GROWTH_SECONDS:
            growths[-1] = (size_bytes, growths[-1][1])
        else:
            growths.append((size_bytes, at))

    def unaccepted_since(self) -> float | None:
        """Return since when the oldest byte waits that was not accepted; None when there is none."""
        accepted = self.accepted
        if accepted >= self.size_bytes:
            self.growths.clear()
            return None
        while self.growths and self.growths[0][0] <= accepted:
            del self.growths[0]
        return self.growths[0][1] if self.growths else self.grew_at

    def resume(self, known: Known, origin: FileOrigin) -> None:
        """Go on where an earlier process, or an earlier name, left off."""
        self.known, self.origin = known, origin
        self.head_bytes = known.head_bytes
        self.offset = known.offset
        self.parts_before = known.parts_before
        if self.size_bytes == known.offset:
            self.grew_at = _LONG_AGO

    def restart(self) -> None:
        """Go back to the start, as another file."""
        self.known = self.origin = None
        self.offset = self.parts_before = self.head_bytes = 0
        self.marker = b""

    def hand_on(self, data: bytes, descriptor: int, *, is_unfinished_part: bool) -> Place:
        """Move behind ``data``, which stands at ``offset``; return the place.

        Raises:
            OSError: the file's beginning cannot be read now; nothing was moved.
        """
        end = self.offset + len(data)
        head = None
        if self.head_bytes < HEAD_BYTES:
            head = data[:HEAD_BYTES] if not self.offset else os.pread(descriptor, min(HEAD_BYTES, end), 0)
            self.head_bytes = len(head)
        self.offset = end
        self.parts_before = self.parts_before + 1 if is_unfinished_part else 0
        self.marker = (self.marker + data[-MARKER_BYTES:])[-MARKER_BYTES:]
        return Place(head, self.marker, self.parts_before, self.changed_ns)


def read(file: TailedFile, descriptor: int, most_bytes: int) -> bytes | None:
    """Return the next bytes of a file; None when it is not the one it was: then it must be restarted.

    A file whose content was compared since it was opened is only asked for its size and, at every read,
    for its marker: growth of a hot file must stay cheap.

    Raises:
        OSError: it cannot be read now.
    """
    if not _begins_as_known(file, descriptor):
        return None
    before = len(file.marker)
    data = os.pread(descriptor, before + most_bytes, file.offset - before)
    if not data.startswith(file.marker):
        return None  # truncated, or rewritten
    file.is_proven = True
    return data[before:]


def _begins_as_known(file: TailedFile, descriptor: int) -> bool:
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
