"""Where a line that is too long is cut. Pure.

Firehose refuses a record above its limit, and a forwarder that drops such a line, or stops at it, loses
the stack trace that somebody needs. Where a line is cut depends on its bytes alone, never on how they
happened to be read: so a restart cuts the same parts again and their ids repeat.
"""

from __future__ import annotations

_CONTINUATION_MASK = 0b1100_0000
_CONTINUATION = 0b1000_0000
_CHARACTER_BYTES_MAX = 4


def part_end(data: bytes) -> int:
    """Return where to cut ``data``, a piece of a line: at its end, or right before a split character."""
    for back in range(1, min(_CHARACTER_BYTES_MAX, len(data) - 1) + 1):
        byte = data[-back]
        if byte & _CONTINUATION_MASK != _CONTINUATION:
            return len(data) - back if _character_bytes(byte) > back else len(data)
    return len(data)  # four continuation bytes in a row: not UTF-8, any place is as good


def line_bytes(data: bytes) -> list[int]:
    """Return the length of each line, with its newline."""
    lengths = [len(line) + 1 for line in data.split(b"\n")]
    if lengths[-1] == 1:
        del lengths[-1]  # nothing stands behind the last newline
    else:
        lengths[-1] -= 1
    return lengths


def _character_bytes(first: int) -> int:
    """Return how long the UTF-8 character is that begins with this byte."""
    if first >= 0b1111_0000:  # noqa: PLR2004 - RFC 3629, section 3: the table itself
        return 4
    if first >= 0b1110_0000:  # noqa: PLR2004 - the same table
        return 3
    return 2 if first >= 0b1100_0000 else 1  # noqa: PLR2004 - the same table
