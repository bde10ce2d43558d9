"""Lines of text that belong together -> one event. Pure, and bounded.

Services write text to standard output: a record begins with a timestamp or a bracket, and the lines of a
traceback follow it. Task files need none of this, each of their lines is one JSON object already.

A line that does not begin a record continues the one before it. Where events end depends on the bytes
alone, so the same bytes give the same events after a restart.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

MAX_EVENT_BYTES = 256 * 1024  # a third more as base64, then twice that when masked: it fits a record
MAX_JOINED_BYTES = 350_000  # control characters take six bytes each in JSON, four thirds in base64

# A record of structlog or stdlib logging, a JSON object, a gunicorn, uvicorn or celery line, syslog.
STARTS_A_RECORD = re.compile(
    rb"(?:\x1b\[[0-9;]{0,16}m){0,4}"
    rb"(?:\d{4}-\d\d-\d\d[T ]|\[|\{|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\b"
    rb"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\d{1,3}(?:\.\d{1,3}){3} - )"
)


def complete_events(data: bytes) -> int:
    """Return how many leading bytes of ``data`` are whole events: all before the last line that begins one.

    The last event is not known to be whole before the next one begins, unless it reached the limit.
    """
    end = data.rfind(b"\n") + 1
    begin = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    while begin > 0 and not STARTS_A_RECORD.match(data, begin, end):
        if end - begin > MAX_EVENT_BYTES:
            break
        begin = data.rfind(b"\n", 0, begin - 1) + 1
    return begin if begin or end <= MAX_EVENT_BYTES else end


def events(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of each event; what would make one longer than the limit begins the next."""
    event: list[bytes] = []
    event_bytes = 0
    for line in lines:
        if event and (STARTS_A_RECORD.match(line) or event_bytes + len(line) > MAX_EVENT_BYTES):
            yield event
            event, event_bytes = [], 0
        event.append(line)
        event_bytes += len(line) + 1
    if event:
        yield event


def as_one_line(event: list[bytes]) -> bytes:
    """Return an event of one line as it is, one of several as a JSON object: its newlines need a spelling."""
    if len(event) == 1:
        return event[0]
    text = b"\n".join(event)
    try:
        document = {"message": text.decode()}
    except UnicodeDecodeError:
        return _in_base64(text)
    line = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return line if len(line) <= MAX_JOINED_BYTES else _in_base64(text)


def _in_base64(text: bytes) -> bytes:
    return b'{"message_base64":"' + base64.b64encode(text) + b'"}'
