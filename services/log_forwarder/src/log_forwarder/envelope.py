"""Lines of a source -> lines of the stream. Pure.

``envelope``  one line of JSON about the lines that follow it, which are the source's own bytes:
              ``{"_fwd":{"v":1,"id":"9c1185a5c5e9fc54.1024-9216","source":"/logs/…/attempt=1.log",…}}``
``json``      the same object in every line: spliced into a line that is a JSON object, else beside the text:
              ``{"_fwd":{…},"timestamp":…}``, ``{"_fwd":{…},"message":"…"}`` or ``"message_base64"``
``raw``       nothing but the source's own bytes

``id`` is source, first and last offset: the same bytes have the same id, ranges of one source tile it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, NoReturn

from isal import isal_zlib

from log_forwarder.inputs.base import MAX_CHUNK_BYTES, Chunk, Origin
from log_forwarder.ruled import cut

Format = Literal["envelope", "json", "raw"]

# A part of a line must fit a record in its worst spelling. base64 makes 700,000 bytes 933,336; that leaves
# 90,000 for the rest of the object: a path of PATH_MAX (4,096 bytes, escaped at most six times) twice.
JSON_CHUNK_BYTES = 700_000
# Encoded lines of one member; what cannot be compressed grows by 20 bytes and 5 for each 64 KiB.
MAX_MEMBER_BYTES = 1_000_000
HEADER_BYTES = 1024  # what an envelope line usually takes at most: a guess, for when a member is full

_OBJECT_FIRST = 0x7B  # {
_OBJECT_LAST = 0x7D  # }


class Segment(NamedTuple):
    """Adjacent lines of one origin, as one record carries them.

    Attributes:
        origin: whose lines.
        start, end: offsets in the source.
        data: the lines (see :class:`~log_forwarder.inputs.base.Chunk`).
        part, is_unfinished: as of the chunk.
        lines: lines that end in it.
    """

    origin: Origin
    start: int
    end: int
    data: bytes
    part: int
    is_unfinished: bool
    lines: int


def count_lines(chunk: Chunk) -> int:
    """Return how many lines end in a chunk."""
    ends_here = (
        bool(chunk.data) and not chunk.data.endswith(b"\n") and not (chunk.part and chunk.is_unfinished)
    )
    return chunk.data.count(b"\n") + ends_here


def chunk_bytes(line_format: Format, *, redacts: bool) -> int:
    """Return the longest chunk that an input may hand out for this format.

    Half of it when secrets are masked: ``"-key":1`` becomes ``"-key":"***"``, and no more than twice as long.
    """
    most = JSON_CHUNK_BYTES if line_format == "json" else MAX_CHUNK_BYTES
    return most // 2 if redacts else most


def header(segment: Segment, facts: Mapping[str, object]) -> bytes:
    """Return the line that stands before a segment in format ``envelope``."""
    own = {
        **_about(segment.origin, segment.start, segment.end, facts),
        "start": segment.start,
        "end": segment.end,
        "lines": segment.lines,
        "crc32": f"{isal_zlib.crc32(segment.data):08x}",
        **_flags(segment),
    }
    if len(segment.data) != segment.end - segment.start:
        own["changed"] = True  # a rule removed, joined or masked something
    return b'{"_fwd":' + _dump(own) + b"}\n"


def body(segment: Segment) -> bytes:
    """Return the segment's lines, closed by a newline: what follows is somebody else's."""
    needs_end = segment.is_unfinished or (segment.part and not segment.data.endswith(b"\n"))
    return segment.data + b"\n" if needs_end else segment.data


def raw(segment: Segment) -> bytes:
    """Return the bytes alone. A flushed tail gets the newline that keeps it from the next line."""
    goes_on = segment.part and segment.is_unfinished
    return body(segment) if not goes_on else segment.data


def json_chunks(chunk: Chunk, facts: Mapping[str, object]) -> Iterator[Chunk]:
    """Encode each line as a JSON object; yield chunks of at most ``MAX_MEMBER_BYTES``."""
    if not chunk.data:
        yield chunk
        return
    before, about = _around(chunk, facts)
    shares = chunk.shares
    encoded: list[bytes] = []
    size_bytes = 0
    start = after = chunk.start
    for number, text in enumerate(chunk.data.removesuffix(b"\n").split(b"\n")):
        first = after
        after = min(first + (len(text) + 1 if shares is None else shares[number]), chunk.end)
        line = _json_line(before + b"%d-%d" % (first, after) + about, text, is_part=chunk.part > 0)
        if size_bytes + len(line) > MAX_MEMBER_BYTES and encoded:
            yield cut(chunk, start, first, b"".join(encoded), lines=len(encoded))
            encoded, size_bytes, start = [], 0, first
        encoded.append(line)
        size_bytes += len(line)
    lines = 0 if chunk.part and chunk.is_unfinished else len(encoded)
    yield cut(chunk, start, chunk.end, b"".join(encoded), lines=lines)


def _around(chunk: Chunk, facts: Mapping[str, object]) -> tuple[bytes, bytes]:
    """Return what stands before and after the offsets in each line's id."""
    marker = "\x00"
    own = {
        **_about(chunk.origin, 0, 0, facts),
        **_flags(chunk),
    }
    own["id"] = f"{chunk.origin.source}.{marker}"
    before, _, after = (b'{"_fwd":' + _dump(own)).partition(_dump(marker)[1:-1])
    return before, after


def _json_line(head: bytes, text: bytes, *, is_part: bool) -> bytes:
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return head + _base64(text)
    if not is_part and _is_object(text, decoded):
        inner = text.lstrip()[1:]
        return head + (b"," if inner.lstrip() != b"}" else b"") + inner + b"\n"
    line = head + b',"message":' + _dump(decoded) + b"}\n"
    return line if len(line) <= MAX_MEMBER_BYTES else head + _base64(text)


def _base64(text: bytes) -> bytes:
    return b',"message_base64":"' + base64.b64encode(text) + b'"}\n'


def _is_object(text: bytes, decoded: str) -> bool:
    """Whether our key can be spliced in: a JSON object that does not hold it already."""
    if not text or text[0] != _OBJECT_FIRST or text[-1] != _OBJECT_LAST or b'"_fwd"' in text:
        return False
    try:
        _DECODER.decode(decoded)
    except (ValueError, RecursionError):  # RecursionError: thousands of open brackets are text to us
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON, though Python reads it")


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # json.loads would make one per line, a third of its time


def _about(origin: Origin, start: int, end: int, facts: Mapping[str, object]) -> dict[str, Any]:
    about: dict[str, Any] = {
        "v": 1,
        "id": f"{origin.source}.{start}-{end}",
        "source": printable(origin.path),
        "stream": origin.kind,
        **origin.about,
    }
    if facts:
        about["ecs"] = dict(facts)
    return about


def _flags(lines: Segment | Chunk) -> dict[str, Any]:
    if not lines.part:
        return {"unterminated": True} if lines.is_unfinished else {}
    flags: dict[str, Any] = {"part": lines.part, "is_last_part": not lines.is_unfinished}
    if not lines.is_unfinished and not lines.data.endswith(b"\n"):
        flags["unterminated"] = True
    return flags


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def printable(path: str) -> str:
    r"""Spell the bytes of a path that are not UTF-8 as \\xNN; JSON could not carry them."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
