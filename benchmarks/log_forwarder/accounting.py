"""What arrived, line by line: nothing missing, what is there twice, and what Firehose bills."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

NUMBER = re.compile(rb'seq\\?":(\d+)')
UNIT_BYTES = 5 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a stream accepted.

    Attributes:
        missing, repeated: of the lines that were written.
        records, record_bytes, billed_bytes: of what was accepted.
        requests: calls, whatever came of them.
        repeated_records: records whose bytes were accepted before.
    """

    missing: int
    repeated: int
    records: int
    record_bytes: int
    billed_bytes: int
    requests: int
    repeated_records: int


def records(directory: Path) -> Iterator[bytes]:
    """Yield the accepted records in order."""
    with (directory / "accepted").open("rb") as file:
        while header := file.read(4):
            yield file.read(struct.unpack("<I", header)[0])


def plain(record: bytes) -> bytes:
    """Return what a record holds, whatever it is compressed with."""
    if record.startswith(b"\x1f\x8b"):
        return gzip.decompress(record)
    if record.startswith(b"\x28\xb5\x2f\xfd"):
        with zstandard.ZstdDecompressor().stream_reader(record, read_across_frames=True) as reader:
            return reader.read()
    return record


def account(directory: Path, lines: int) -> Account:
    """Count lines ``0..lines-1``."""
    seen = bytearray(lines)
    repeated = count = record_bytes = billed = repeated_records = 0
    known: set[int] = set()
    for record in records(directory):
        count += 1
        record_bytes += len(record)
        billed += -(-len(record) // UNIT_BYTES) * UNIT_BYTES
        repeated_records += hash(record) in known
        known.add(hash(record))
        for number in map(int, NUMBER.findall(plain(record))):
            if seen[number]:
                repeated += 1
            seen[number] = 1
    calls = directory / "calls"
    return Account(
        missing=lines - sum(seen),
        repeated=repeated,
        records=count,
        record_bytes=record_bytes,
        billed_bytes=billed,
        requests=len(calls.read_bytes().splitlines()) if calls.exists() else 0,
        repeated_records=repeated_records,
    )
