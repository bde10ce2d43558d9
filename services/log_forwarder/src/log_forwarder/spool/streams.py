"""The lines of one pushed stream between the spool and the packer, as a source with offsets.

A stream's bytes are its lines, each with its newline, one after the other from its first. So its ranges
tile, as those of a file do, although the spool holds many streams mixed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from log_forwarder.inputs.base import Chunk, LineRules, Origin, Range
from log_forwarder.spool.payloads import Line, Place
from log_forwarder.transforms.redaction import safe_cut

_CONTINUATION_MASK = 0b1100_0000
_CONTINUATION = 0b1000_0000
_CHARACTER_BYTES_MAX = 4


@dataclass(slots=True)
class _Lines:
    """Whole lines, and where to go on after each."""

    texts: list[bytes] = field(default_factory=list)
    ends: list[Place] = field(default_factory=list)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a line that is longer than a chunk."""

    data: bytes
    end: Place
    part: int
    is_unfinished: bool


@dataclass(slots=True, eq=False)
class Stream:
    """One stream. Used by the reading thread.

    Attributes:
        origin: what others know it by.
        offset: where the next chunk begins.
        resume_at: lines that end at or before this place were accepted by an earlier process.
        read_to: the place after the last line that was added.
        waits_since: when the oldest line here was added (monotonic seconds).
        grew_at: when the newest was.
        waiting_bytes: how much is here.
    """

    origin: Origin
    offset: int
    resume_at: Place
    read_to: Place
    waits_since: float = 0.0
    grew_at: float = 0.0
    waiting_bytes: int = 0
    _items: deque[_Lines | _Part] = field(default_factory=deque)

    def add(self, line: Line, *, limit_bytes: int, now: float) -> None:
        """Take the next line; one that was accepted before a restart is passed over."""
        _, text, begin, end = line
        if end <= self.resume_at:
            return
        if not self._items:
            self.waits_since = now
        self.grew_at = now
        self.read_to = end
        if len(text) >= limit_bytes:
            self._add_long(text, begin, end, limit_bytes)
            return
        last = self._items[-1] if self._items else None
        if type(last) is not _Lines:
            last = _Lines()
            self._items.append(last)
        last.texts.append(text)
        last.ends.append(end)
        last.size_bytes += len(text) + 1
        self.waiting_bytes += len(text) + 1

    def _add_long(self, text: bytes, begin: Place, end: Place, limit_bytes: int) -> None:
        """Cut a line; where depends on its bytes alone, so that a restart cuts the same parts."""
        done = self.resume_at[2] if self.resume_at[:2] == begin[:2] else 0
        part, at = 1, 0
        while at < len(text) or not at:
            stop = _cut(text, at, limit_bytes)
            is_last = stop == len(text)
            if stop > done:
                data = text[at:stop] + (b"\n" if is_last else b"")
                place = end if is_last else (begin[0], begin[1], stop)
                self._items.append(_Part(data, place, part, not is_last))
                self.waiting_bytes += len(data)
            part, at = part + 1, stop

    def take(self, rules: LineRules, *, limit_bytes: int, is_last: bool) -> Chunk | None:
        """Hand on the next chunk; None when there is none, or when an event waits for its end.

        Args:
            rules: say which lines belong together.
            limit_bytes: the longest chunk.
            is_last: do not wait for the end of an event any longer.
        """
        if not self._items:
            return None
        first = self._items[0]
        if isinstance(first, _Part):
            self._items.popleft()
            return self._hand_on(first.data, first.end, part=first.part, is_unfinished=first.is_unfinished)
        count = _fitting(first, limit_bytes)
        data = b"\n".join(first.texts[:count]) + b"\n"
        is_followed = count < len(first.texts) or len(self._items) > 1
        if not is_last and not (is_followed and count == len(first.texts)):
            whole = rules.complete(data)
            if not whole and not is_followed:
                return None
            data = data[:whole] or data
            count = data.count(b"\n")
        return self._take_lines(first, count, data)

    def take_exactly(self, wanted: Range) -> Chunk | None:
        """Hand on exactly this range; None when it is not what comes next, or is not all here yet."""
        first = self._items[0] if self._items else None
        if first is None or wanted.start != self.offset:
            return None
        if isinstance(first, _Part):
            if (len(first.data), first.part) != (wanted.end - wanted.start, wanted.part):
                return None
            self._items.popleft()
            return self._hand_on(first.data, first.end, part=first.part, is_unfinished=first.is_unfinished)
        size_bytes = count = 0
        while count < len(first.texts) and size_bytes < wanted.end - wanted.start:
            size_bytes += len(first.texts[count]) + 1
            count += 1
        if size_bytes != wanted.end - wanted.start or wanted.part:
            return None
        return self._take_lines(first, count, b"\n".join(first.texts[:count]) + b"\n")

    def _take_lines(self, lines: _Lines, count: int, data: bytes) -> Chunk:
        ends = lines.ends[:count]
        if count == len(lines.texts):
            self._items.popleft()
        else:
            del lines.texts[:count], lines.ends[:count]
            lines.size_bytes -= len(data)
        return self._hand_on(data, ends[-1])._replace(place_at=lambda at: ends[data.count(b"\n", 0, at) - 1])

    def _hand_on(self, data: bytes, end: Place, *, part: int = 0, is_unfinished: bool = False) -> Chunk:
        start = self.offset
        self.offset += len(data)
        self.waiting_bytes -= len(data)
        return Chunk(self.origin, start, self.offset, data, end, self.waits_since, part, is_unfinished)


def _fitting(lines: _Lines, limit_bytes: int) -> int:
    """Return how many lines one chunk can hold; at least one."""
    if lines.size_bytes <= limit_bytes:
        return len(lines.texts)
    size_bytes = 0
    for count, text in enumerate(lines.texts):
        size_bytes += len(text) + 1
        if size_bytes > limit_bytes:
            return max(count, 1)
    return len(lines.texts)


def _cut(text: bytes, at: int, limit_bytes: int) -> int:
    """Return where the part that begins at ``at`` ends: in no character, and if possible in no secret."""
    if len(text) - at < limit_bytes:
        return len(text)
    stop = at + limit_bytes - 1
    for back in range(_CHARACTER_BYTES_MAX):
        if text[stop - back] & _CONTINUATION_MASK != _CONTINUATION:
            stop -= back
            break
    return at + (safe_cut(text[at : stop + limit_bytes], stop - at) or stop - at)
