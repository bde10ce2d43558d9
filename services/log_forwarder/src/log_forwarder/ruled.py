"""Chunks that the rules changed, and which bytes of the source each of their lines stands for. Pure.

A record may hold only some of a chunk's lines. It is planned, acknowledged and, after a crash, read again
by offsets of the source, so a chunk is only ever cut where an offset of the source is known.
"""

from __future__ import annotations

from collections.abc import Iterator

from log_forwarder.inputs.base import Chunk, LineRules


def ruled(chunk: Chunk, rules: LineRules) -> Chunk:
    """Return what the rules make of a chunk: the chunk itself when they change nothing."""
    data = rules.apply(chunk.data)
    if data is chunk.data:
        return chunk
    return chunk._replace(data=data, shares=rules.shares(chunk.data))


def cut(chunk: Chunk, start: int, end: int, data: bytes, *, lines: int) -> Chunk:
    """Return the part of a chunk between two offsets of its source, as a chunk that stands alone."""
    is_last = end == chunk.end
    place_at = chunk.place_at
    position = chunk.position if is_last else place_at(end - chunk.start) if place_at else None
    return chunk._replace(
        start=start,
        end=end,
        data=data,
        position=position,
        is_unfinished=chunk.is_unfinished and is_last,
        lines=lines,
        shares=None,
        place_at=None,
    )


def pieces(chunk: Chunk, limit_bytes: int) -> Iterator[Chunk]:
    """Yield a chunk in pieces of at most ``limit_bytes``, or of one line, when the rules made it longer."""
    if chunk.shares is None or len(chunk.data) <= limit_bytes:
        yield chunk
        return
    begin = at = 0
    start = after = chunk.start
    lines = 0
    for share in chunk.shares:
        stop = chunk.data.find(b"\n", at) + 1 or len(chunk.data)
        if stop - begin > limit_bytes and at > begin:
            yield cut(chunk, start, after, chunk.data[begin:at], lines=lines)
            begin, start, lines = at, after, 0
        at, after, lines = stop, after + share, lines + 1
    yield cut(chunk, start, chunk.end, chunk.data[begin:], lines=chunk.lines and lines)
