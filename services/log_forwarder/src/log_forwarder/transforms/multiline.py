"""Lines of text that belong together -> one event. Pure, and bounded.

Services write text to standard output: a record begins with a timestamp or a bracket, and the lines of a
traceback follow it. Task files need none of this, each of their lines is one JSON object already.

A line that does not begin a record continues the one before it. What is joined depends on the bytes
alone: a joiner that is made anew after a restart, and given the same lines, joins the same events. Time
only says when the last event is not waited for any longer, and that is the caller's to say
(:meth:`Joiner.flush`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_EVENT_BYTES = 512 * 1024
MAX_EVENT_LINES = 5_000

# A record of structlog or stdlib logging, a JSON object, a gunicorn, uvicorn or celery line, syslog.
STARTS_A_RECORD = re.compile(
    rb"(?:\x1b\[[0-9;]{0,16}m){0,4}"
    rb"(?:\d{4}-\d\d-\d\d[T ]|\[|\{|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\b"
    rb"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\d{1,3}(?:\.\d{1,3}){3} - )"
)


class Line(NamedTuple):
    """A line, or an event made of several.

    Attributes:
        start: offset of its first byte in its source.
        end: offset after its last byte, line ending included.
        text: its bytes without the last newline.
    """

    start: int
    end: int
    text: bytes


@dataclass(slots=True)
class Joiner:
    """Joins the lines of one source; what it holds is at most one event.

    Attributes:
        starts: what a line that begins an event looks like.
        limit_bytes: an event that would grow beyond this is cut; what follows is the next one.
        limit_lines: the same, in lines.
    """

    starts: re.Pattern[bytes] = STARTS_A_RECORD
    limit_bytes: int = MAX_EVENT_BYTES
    limit_lines: int = MAX_EVENT_LINES
    _held: list[Line] = field(default_factory=list)
    _held_bytes: int = 0

    @property
    def holds_from(self) -> int | None:
        """Offset of the event that is still held; None when nothing is."""
        return self._held[0].start if self._held else None

    def add(self, line: Line) -> Line | None:
        """Take the next line; return the event that is complete now, if one is."""
        fits = self._held_bytes + len(line.text) < self.limit_bytes and len(self._held) < self.limit_lines
        ended = None if self._held and fits and not self.starts.match(line.text) else self.flush()
        self._held.append(line)
        self._held_bytes += len(line.text) + 1
        return ended

    def flush(self) -> Line | None:
        """Give up waiting: return the event that is held, if any."""
        if not self._held:
            return None
        event = Line(self._held[0].start, self._held[-1].end, b"\n".join(line.text for line in self._held))
        self._held, self._held_bytes = [], 0
        return event
