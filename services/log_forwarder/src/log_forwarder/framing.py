"""Bytes of a file -> lines of a record. Pure: offsets in, offsets out, nothing remembered.

A line that fits is one piece. A longer line is cut into numbered parts, because Firehose refuses a
record above its limit and a forwarder that drops the line, or stops at it, loses the stack trace that
somebody needs. Where a line is cut depends on its bytes alone, never on how they happened to be read:
so a restart cuts the same pieces again and their ids repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SHORTEST_LIMIT_BYTES = 4  # one UTF-8 character must fit, or a cut could not advance

_CONTINUATION_MASK = 0b1100_0000
_CONTINUATION = 0b1000_0000
_CHARACTER_BYTES_MAX = 4


class Piece(NamedTuple):
    """A line, or a part of one. A tuple and not a dataclass: one is made per line.

    Attributes:
        start: offset of its first byte in the file.
        end: offset after its last byte, line ending included.
        text: its bytes without the newline; a carriage return stays.
        part: 0 for a whole line, else the part's number from 1.
        is_last: whether it completes its line.
        is_terminated: whether a newline followed; False for an inner part and a flushed tail.
    """

    start: int
    end: int
    text: bytes
    part: int
    is_last: bool
    is_terminated: bool

    @property
    def parts_after(self) -> int:
        """How many parts of the line at ``end`` are already cut: where to go on after a restart."""
        return 0 if self.is_last else self.part


def cut(data: bytes, *, start: int, parts_before: int, limit_bytes: int) -> Iterator[Piece]:
    """Yield every whole line in ``data``, and full parts of a line that is too long.

    What follows the last piece is an unfinished line of at most ``limit_bytes``; read again from there
    when the file has grown, or give it to :func:`cut_tail`.

    Args:
        data: what the file holds from ``start`` on.
        start: offset of ``data`` in the file.
        parts_before: parts of the line at ``start`` that were cut before (0 at the start of a line).
        limit_bytes: the longest ``text`` of a piece.
    """
    if limit_bytes < SHORTEST_LIMIT_BYTES:
        raise ValueError(f"limit_bytes must be at least {SHORTEST_LIMIT_BYTES}, not {limit_bytes}")
    at = 0
    while True:
        newline = data.find(b"\n", at)
        stop = len(data) if newline < 0 else newline
        while stop - at > limit_bytes:
            parts_before += 1
            end = _character_start(data, at + limit_bytes)
            yield Piece(start + at, start + end, data[at:end], parts_before, False, False)
            at = end
        if newline < 0:
            return
        part = parts_before + 1 if parts_before else 0
        yield Piece(start + at, start + newline + 1, data[at:newline], part, True, True)
        parts_before = 0
        at = newline + 1


def cut_tail(data: bytes, *, start: int, parts_before: int) -> Piece:
    """Return an unfinished line as a piece that says so; what the writer adds later is the next line."""
    return Piece(
        start=start,
        end=start + len(data),
        text=data,
        part=parts_before + 1 if parts_before else 0,
        is_last=True,
        is_terminated=False,
    )


def _character_start(data: bytes, at: int) -> int:
    """Return the nearest place at or before ``at`` that does not split a UTF-8 character."""
    for back in range(_CHARACTER_BYTES_MAX):
        if data[at - back] & _CONTINUATION_MASK != _CONTINUATION:
            return at - back
    return at  # four continuation bytes in a row: not UTF-8, any place is as good
