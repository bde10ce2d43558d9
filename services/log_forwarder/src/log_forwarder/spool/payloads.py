"""What a spool record holds, and the lines in it. Pure.

``F`` + Forward frames as they came; or ``L`` + the length of a header, the header (JSON: whose lines) and
lines. A line's place is (record, number of the message in it, bytes of the line already handed on), so
that a restart can go on in the middle of a record, and of a line.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

from log_forwarder.forward.codec import decode
from log_forwarder.forward.messages import Messages, Part
from log_forwarder.forward.partials import Joined, Partials
from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.records import Entry

_FORWARD = b"F"
_LINES = b"L"
_LENGTH = struct.Struct("<I")

Place = tuple[int, int, int]


# A tuple and not a class: one is made per line. Whose; its bytes without the newline; where it begins (a
# joined line: its first part); where to go on after it.
Line = tuple[StreamKey, bytes, Place, Place]


def forward_payload(frames: bytes) -> bytes:
    """Return the payload for whole Forward frames."""
    return _FORWARD + frames


def lines_payload(key: StreamKey, lines: bytes, *, mark: str = "") -> bytes:
    """Return the payload for lines of one stream.

    Args:
        key: whose.
        lines: the lines; the newline of the last may be missing.
        mark: where the input goes on after them; opaque here, found again with :func:`mark_of`.
    """
    header = json.dumps([key.kind, key.path, key.about, mark]).encode()
    return _LINES + _LENGTH.pack(len(header)) + header + lines


def mark_of(payload: bytes) -> tuple[StreamKey, str] | None:
    """Return whose lines a payload holds, and its mark; None for Forward frames."""
    if payload[:1] != _LINES:
        return None
    kind, path, about, mark = json.loads(payload[5 : 5 + _LENGTH.unpack_from(payload, 1)[0]])
    return StreamKey(kind, path, tuple((name, value) for name, value in about)), mark


class Lines:
    """Takes the lines out of spool records. Holds the parts of long lines between them."""

    def __init__(self) -> None:
        self._messages = Messages()
        self._partials: Partials[StreamKey, Place] = Partials()

    def of(self, entry: Entry, now: float) -> Iterator[Line]:
        """Yield the lines that are complete in this record, in order."""
        if entry.payload[:1] == _FORWARD:
            return self._of_frames(entry, now)
        return self._of_lines(entry)

    def expired(self, now: float) -> Iterator[Line]:
        """Yield what there is of lines whose next part did not come."""
        for joined in self._partials.expired(now):
            yield _line(joined)

    def give_up_waiting(self) -> Iterator[Line]:
        """Yield what there is of every line that waits for a part."""
        for joined in self._partials.expired(0.0, wait_seconds=float("-inf")):
            yield _line(joined)

    @property
    def held_from(self) -> int | None:
        """The oldest record that a waiting part is in; None when none waits."""
        return min((begin[0] for begin in self._partials.begins()), default=None)

    @property
    def holds_parts(self) -> bool:
        """Whether a line waits for its next part."""
        return len(self._partials) > 0

    def _of_lines(self, entry: Entry) -> Iterator[Line]:
        found = mark_of(entry.payload)
        if found is None:
            return
        key, _ = found
        lines = entry.payload[5 + _LENGTH.unpack_from(entry.payload, 1)[0] :]
        for number, text in enumerate(lines.removesuffix(b"\n").split(b"\n")):
            yield key, text, (entry.start, number, 0), (entry.start, number + 1, 0)

    def _of_frames(self, entry: Entry, now: float) -> Iterator[Line]:
        record, read = entry.start, self._messages.read
        has_parts = self.holds_parts
        for number, event in enumerate(decode(entry.payload[1:])):
            key, text, part = read(event)
            line = key, text, (record, number, 0), (record, number + 1, 0)
            if part is None and not has_parts:
                yield line
            else:
                has_parts = True
                yield from self._join(line, part, now)

    def _join(self, line: Line, part: Part | None, now: float) -> Iterator[Line]:
        key, text, begin, end = line
        if part is None:
            given_up = self._partials.give_up(key)
            if given_up is not None:
                yield _line(given_up)
            yield line
            return
        for joined in self._partials.add(
            key, partial_id=part.id, text=text, is_last=part.is_last, begin=begin, end=end, now=now
        ):
            yield _line(joined)


def _line(joined: Joined[StreamKey, Place]) -> Line:
    return joined.key, joined.text, joined.begin, joined.end
