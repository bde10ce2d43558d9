"""Whole frames -> events: (tag, record) in order. Pure; memory stays near the size of the frames.

A frame is one of (told apart by its second element)::

    [tag, time, record, option?]                 Message
    [tag, [[time, record], ...], option?]        Forward
    [tag, bin, option?]                          PackedForward: a bin of [time, record] [time, record] ...
    [tag, bin, {"compressed": "gzip"|"zstd"}]    CompressedPackedForward

Fluent Bit writes ``[[time, metadata], record]`` for an entry. Strings stay bytes: log lines need not be
UTF-8, and decoding them would be half of the cost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import zstandard
from isal import isal_zlib
from msgpack import (  # type: ignore[import-untyped]  # it ships no types
    ExtraData,
    OutOfData,
    StackError,
    Unpacker,
)
from msgpack.exceptions import FormatError  # type: ignore[import-untyped]  # the same

MAX_INFLATED_BYTES = 256 * 1024 * 1024  # of one frame; as Fluentd's compressed_size limits go
_MAX_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024  # what RFC 8878 asks every decoder to support
_STEP_BYTES = 256 * 1024
_MESSAGE = 3  # elements: tag, time, record
_TIMES = frozenset({int, float, tuple})
_LARGE_BYTES = 1024 * 1024
_ARRAYS = frozenset({*range(0x90, 0xA0), 0xDC, 0xDD})
_GZIP = 16 + zlib.MAX_WBITS
_LOGS = 0  # https://github.com/fluent/fluent-bit: fluent_signal 0 logs, 1 metrics, 2 traces
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub says instance
_BROKEN: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    ExtraData,
    OutOfData,
    StackError,
    FormatError,
    RecursionError,
    zlib.error,
    _ISAL_ERROR,
    zstandard.ZstdError,
)


class Event(NamedTuple):
    """One log event.

    Attributes:
        tag: as the client gave it.
        record: its keys and values, strings as bytes. None when the frame could not be understood.
        unreadable: then, the frame's own bytes; else empty.
    """

    tag: bytes
    record: dict[Any, Any] | None
    unreadable: bytes = b""


class _UnreadableError(Exception):
    """This is msgpack, but no Forward frame that we know."""


_NOT_FORWARD: tuple[type[Exception], ...] = (_UnreadableError, *_BROKEN)


def decode(frames: bytes) -> Iterator[Event]:
    """Yield the events in whole frames, as :class:`~log_forwarder.forward.frames.Framer` cut them.

    Never raises for what a client sent: a frame that cannot be understood is an event that carries its
    bytes, for it was accepted and must not vanish. Of a frame that breaks off in the middle (a damaged
    gzip) the events before the break come first.
    """
    if len(frames) <= _LARGE_BYTES:
        yield from _decode(frames)
        return
    skipper = _unpacker(len(frames))
    skipper.feed(frames)
    small_from = at = 0
    while at < len(frames):
        try:
            skipper.skip()
        except _BROKEN:
            break
        end = skipper.tell()
        if end - at > _LARGE_BYTES:
            yield from _decode(frames[small_from:at])
            yield from _decode_large(frames[at:end])
            small_from = end
        at = end
    yield from _decode(frames[small_from:])


def _decode(frames: bytes) -> Iterator[Event]:
    unpacker = _unpacker(len(frames))
    unpacker.feed(frames)
    at = 0
    while at < len(frames):
        try:
            frame = unpacker.unpack()
        except _BROKEN:
            yield Event(b"", None, frames[at:])
            return
        end = unpacker.tell()
        try:
            if (
                type(frame) is list
                and len(frame) >= _MESSAGE
                and type(frame[2]) is dict
                and type(frame[1]) in _TIMES
                and type(frame[0]) is bytes
            ):
                yield Event(frame[0], frame[2])  # the most frequent mode
            elif frame is not None:  # nil is a heartbeat
                yield from _events(frame)
        except _NOT_FORWARD:
            yield Event(_tag_of(frame), None, frames[at:end])
        at = end


def _decode_large(frame: bytes) -> Iterator[Event]:
    """Unpack entry by entry: a list of a million small objects would take fifty times its bytes."""
    unpacker = _unpacker(len(frame))
    unpacker.feed(frame)
    tag: Any = b""
    try:
        unpacker.read_array_header()
        tag = unpacker.unpack()
        if frame[unpacker.tell()] not in _ARRAYS:
            yield from _decode(frame)
            return
        count = unpacker.read_array_header()
        yield from _entries(tag, (unpacker.unpack() for _ in range(count)))
    except _NOT_FORWARD:
        yield Event(tag if isinstance(tag, bytes) else b"", None, frame)


def _events(frame: Any) -> Iterator[Event]:
    if not isinstance(frame, list) or not 2 <= len(frame) <= 4 or not isinstance(frame[0], bytes):  # noqa: PLR2004 - the specification's
        raise _UnreadableError
    tag, second = frame[0], frame[1]
    if isinstance(second, list):
        yield from _entries(tag, second)
    elif isinstance(second, bytes):
        option = frame[2] if len(frame) > 2 and isinstance(frame[2], dict) else {}  # noqa: PLR2004 - see above
        yield from _packed(tag, second, option)
    else:
        raise _UnreadableError


def _entries(tag: bytes, entries: Any) -> Iterator[Event]:
    for entry in entries:
        if not isinstance(entry, list) or len(entry) < 2 or not isinstance(entry[1], dict):  # noqa: PLR2004 - time and record
            raise _UnreadableError
        yield Event(tag, entry[1])


def _packed(tag: bytes, packed: bytes, option: dict[Any, Any]) -> Iterator[Event]:
    if option.get(b"fluent_signal", _LOGS) != _LOGS:
        raise _UnreadableError  # metrics or traces: no lines
    unpacker = _unpacker(0)
    fed_bytes = 0
    for piece in _inflate(packed, option.get(b"compressed", b"text")):
        unpacker.feed(piece)
        fed_bytes += len(piece)
        yield from _entries(tag, unpacker)
    if unpacker.tell() != fed_bytes:
        raise _UnreadableError  # it ends in the middle of an entry


def _inflate(packed: bytes, compressed: object) -> Iterator[bytes]:
    if compressed == b"gzip":
        yield from _gunzip(packed)
    elif compressed == b"zstd":
        yield from _unzstd(packed)
    elif compressed == b"text":
        yield packed
    else:
        raise _UnreadableError


def _gunzip(packed: bytes) -> Iterator[bytes]:
    """Yield the content of all members."""
    total = 0
    while packed:
        member = isal_zlib.decompressobj(_GZIP)
        while piece := member.decompress(packed, _STEP_BYTES):
            packed = member.unconsumed_tail
            total += len(piece)
            if total > MAX_INFLATED_BYTES:
                raise _UnreadableError
            yield piece
        if not member.eof:
            raise _UnreadableError  # it breaks off
        packed = member.unused_data


def _unzstd(packed: bytes) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES).stream_reader(
        packed, read_across_frames=True
    )
    total = 0
    while piece := reader.read(_STEP_BYTES):
        total += len(piece)
        if total > MAX_INFLATED_BYTES:
            raise _UnreadableError
        yield piece


def _tag_of(frame: Any) -> bytes:
    return frame[0] if isinstance(frame, list) and frame and isinstance(frame[0], bytes) else b""


def _extension(_code: int, data: bytes) -> tuple[bytes]:
    """Return what no other msgpack type becomes."""
    return (data,)


def _unpacker(max_buffer_bytes: int) -> Any:
    """Return a reader that keeps times as they are: no line needs them."""
    return Unpacker(raw=True, strict_map_key=False, max_buffer_size=max_buffer_bytes, ext_hook=_extension)
