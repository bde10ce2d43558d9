"""The bytes of ``GET /containers/{id}/logs?timestamps=1`` -> lines with their times. Pure.

Without a terminal each message of the log has a header of eight bytes (its stream, its length). With one
there is a single stream and no header. A message that does not end in a newline goes on in the next one
of its stream: the engine cuts lines at 16 KiB. (On a terminal such a line keeps the time of each part.)

https://docs.docker.com/reference/api/engine/version/v1.43/#tag/Container/operation/ContainerAttach
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

_HEADER = struct.Struct(">BxxxI")
_STREAMS: dict[int, Name] = {1: "stdout", 2: "stderr"}
_OUT_OF_ORDER_NS = 10 * 1_000_000_000
_LONGEST_LINE_BYTES = 4 * 1024 * 1024
_LONGEST_MESSAGE_BYTES = 32 * 1024 * 1024
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|[+-]\d\d:\d\d) ")

Name = Literal["stdout", "stderr"]


class DockerLogError(Exception):
    """These bytes are not a log of the Engine API."""


class Mark(NamedTuple):
    """How far one stream of a container was taken.

    Attributes:
        time_ns: the time of its last message (Unix time); the engine's ``since`` is inclusive.
        seen: how many messages of that very time were taken.
    """

    time_ns: int
    seen: int


class LogLine(NamedTuple):
    """One line.

    Attributes:
        stream: which.
        text: its bytes, without time and newline.
        mark: how far its stream is taken with it.
    """

    stream: Name
    text: bytes
    mark: Mark


@dataclass(slots=True)
class _Stream:
    """One stream of a container: what was taken, and the beginning of a line whose end has not come."""

    mark: Mark
    resume: Mark
    resumed: int = 0  # messages of the very time of ``resume`` that came again
    parts: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class DockerLog:
    """Reads one answer of the engine, from where an earlier one was left.

    Args:
        has_terminal: the container's ``Config.Tty``.
        marks: how far each stream was taken before.
    """

    def __init__(self, *, has_terminal: bool, marks: dict[Name, Mark]) -> None:
        self._has_terminal = has_terminal
        self._buffer = bytearray()
        self._streams: dict[Name, _Stream] = {
            name: _Stream(marks.get(name, Mark(0, 0)), marks.get(name, Mark(0, 0)))
            for name in _STREAMS.values()
        }

    def feed(self, data: bytes) -> Iterator[LogLine]:
        """Add what came; yield the lines that are complete and were not taken before.

        Raises:
            DockerLogError: this is no log; begin anew.
        """
        self._buffer += data
        for name, message in self._from_terminal() if self._has_terminal else self._messages():
            line = self._take(name, message)
            if line is not None:
                yield line

    def end(self) -> Iterator[LogLine]:
        """Yield what there is of lines that will not be completed: the container is gone."""
        for name, stream in self._streams.items():
            if stream.parts:
                yield self._line(name, stream)

    def _messages(self) -> Iterator[tuple[Name, bytes]]:
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if kind not in _STREAMS or length > _LONGEST_MESSAGE_BYTES:
                raise DockerLogError(f"a message of stream {kind} with {length} bytes")
            if len(self._buffer) < _HEADER.size + length:
                return
            message = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
            del self._buffer[: _HEADER.size + length]
            yield _STREAMS[kind], message

    def _from_terminal(self) -> Iterator[tuple[Name, bytes]]:
        end = self._buffer.rfind(b"\n") + 1
        whole = bytes(self._buffer[:end])
        del self._buffer[:end]
        for line in whole.splitlines(keepends=True):
            yield "stdout", line.replace(b"\r\n", b"\n")
        if len(self._buffer) > _LONGEST_MESSAGE_BYTES:
            raise DockerLogError("a line without end")

    def _take(self, name: Name, message: bytes) -> LogLine | None:
        time_ns, text = _split(message)
        stream = self._streams[name]
        if self._was_taken(stream, time_ns):
            return None
        stream.parts.append(text.removesuffix(b"\n"))
        stream.size_bytes += len(text)
        seen = stream.mark.seen + 1 if stream.mark.time_ns == time_ns else 1
        stream.mark = Mark(time_ns, seen)
        is_whole = text.endswith(b"\n") or stream.size_bytes >= _LONGEST_LINE_BYTES
        return self._line(name, stream) if is_whole else None

    def _was_taken(self, stream: _Stream, time_ns: int) -> bool:
        if time_ns != stream.resume.time_ns:
            return time_ns < stream.resume.time_ns
        stream.resumed += 1
        return stream.resumed <= stream.resume.seen

    def _line(self, name: Name, stream: _Stream) -> LogLine:
        text = b"".join(stream.parts)
        stream.parts, stream.size_bytes = [], 0
        return LogLine(name, text, stream.mark)


def since(marks: dict[Name, Mark]) -> str:
    """Return the engine's ``since`` (seconds and nanoseconds) for going on.

    A little before what was taken last: both streams are written to one log, almost in the order of their
    times, and a silent stream must not make the engine read the log from its start.
    """
    time_ns = max(0, max((mark.time_ns for mark in marks.values()), default=0) - _OUT_OF_ORDER_NS)
    return f"{time_ns // 1_000_000_000}.{time_ns % 1_000_000_000:09d}"


def _split(message: bytes) -> tuple[int, bytes]:
    """Return a message's time in nanoseconds, and its text."""
    match = _TIME.match(message)
    if match is None:
        raise DockerLogError(f"no time before {message[:40]!r}")
    moment = datetime.strptime(match[1].decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    fraction_ns = int((match[2] or b"0").ljust(9, b"0"))
    return int(moment.timestamp()) * 1_000_000_000 + fraction_ns, message[match.end() :]
