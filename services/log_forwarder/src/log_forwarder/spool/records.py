"""The bytes of a spool segment: records with a length and a checksum. Pure.

::

    u32 length | u32 crc32 of length and payload | payload        (little-endian)

A segment is read from its start; the first record that is not whole, or does not match its checksum, is
where a killed writer or a lost power supply stopped, unless a whole one follows: then it is damage.
Zeros are no record, so preallocation is harmless.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

HEADER = struct.Struct("<II")
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024  # a longer length is not a length but damage

_LENGTH_OF_A_RECORD = re.compile(rb"(?s)(?=...[\x00-\x04].....)")  # at most 64 MiB, its checksum, a byte


class Entry(NamedTuple):
    """One record.

    Attributes:
        start: its position.
        end: the position after it.
        payload: its bytes.
    """

    start: int
    end: int
    payload: bytes


def encode(payload: bytes) -> bytes:
    """Return the record for a payload.

    Raises:
        ValueError: it is empty or longer than ``MAX_PAYLOAD_BYTES``.
    """
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"a record holds 1..{MAX_PAYLOAD_BYTES} bytes, not {len(payload)}")
    return HEADER.pack(len(payload), _checksum(payload)) + payload


def whole_records(data: bytes, *, at: int) -> Iterator[Entry]:
    """Yield the whole and undamaged records that ``data`` begins with.

    Args:
        data: bytes of a segment, from the start of a record on.
        at: the position of that start.
    """
    here = 0
    while len(data) - here >= HEADER.size:
        length, checksum = HEADER.unpack_from(data, here)
        begin = here + HEADER.size
        if not 0 < length <= MAX_PAYLOAD_BYTES or begin + length > len(data):
            return
        payload = data[begin : begin + length]
        if _checksum(payload) != checksum:
            return
        yield Entry(at + here, at + begin + length, payload)
        here = begin + length


def next_record(data: bytes) -> int | None:
    """Return where the first whole record behind damage begins; None when there is none."""
    for match in _LENGTH_OF_A_RECORD.finditer(data, 1, len(data.rstrip(b"\0")) + HEADER.size):
        length, checksum = HEADER.unpack_from(data, match.start())
        begin = match.start() + HEADER.size
        if not 0 < length <= min(MAX_PAYLOAD_BYTES, len(data) - begin):
            continue
        if _checksum(data[begin : begin + length]) == checksum:
            return match.start()
    return None


def wanted_bytes(data: bytes) -> int:
    """Return how long the first record is, header included; 0 when its header is not there or damaged."""
    if len(data) < HEADER.size:
        return 0
    length, _ = HEADER.unpack_from(data)
    return HEADER.size + length if 0 < length <= MAX_PAYLOAD_BYTES else 0


def _checksum(payload: bytes) -> int:
    return crc32(payload, len(payload))
