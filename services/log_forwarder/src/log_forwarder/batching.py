"""Lines -> records -> calls, within Firehose's limits. Pure.

Firehose bills each record rounded up to 5 KB, so lines are packed until a record is full. A record's
bytes are fixed when it is sealed: every retry sends the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from log_forwarder.fingerprint import Fingerprint
from log_forwarder.framing import Piece

# https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html
MAX_RECORD_BYTES = 1_000 * 1024
MAX_CALL_RECORDS = 500
# "4 MiB for the entire request". Whether before or after base64 is not said (amazon-kinesis-agent
# counts before, fluent-bit after), so the larger number is held under the limit.
MAX_CALL_BYTES = 4 * 1024 * 1024
# https://aws.amazon.com/firehose/pricing/ : "rounded up to the nearest 5KB", for each record
BILLING_UNIT_BYTES = 5 * 1024

_CALL_OVERHEAD_BYTES = 256  # {"DeliveryStreamName": "<64 characters>", "Records": []}
_RECORD_OVERHEAD_BYTES = 16  # {"Data": ""}, and the comma


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The bytes of one file that a record carries, and what must be known to go on after them.

    Attributes:
        generation: which file, and which life of it (see ``checkpoints``).
        start: offset of the first byte.
        end: offset after the last byte.
        parts_after: parts of the line at ``end`` that are already cut.
        fingerprint: what the file holds before ``end``.
    """

    generation: int
    start: int
    end: int
    parts_after: int
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One Firehose record, sealed.

    Attributes:
        data: what is sent, at most ``MAX_RECORD_BYTES``.
        spans: where it came from; one per file, in the order of their lines.
        lines: lines that end in it.
    """

    data: bytes
    spans: tuple[Span, ...]
    lines: int

    @property
    def billed_bytes(self) -> int:
        """What Firehose charges for it."""
        return -(-len(self.data) // BILLING_UNIT_BYTES) * BILLING_UNIT_BYTES

    @property
    def call_bytes(self) -> int:
        """What it takes of a call's limit."""
        return -(-len(self.data) // 3) * 4 + _RECORD_OVERHEAD_BYTES


@dataclass(slots=True)
class _OpenSpan:
    start: int
    last: Piece
    fingerprint: Fingerprint


@dataclass(slots=True)
class Packer:
    """Fills one record at a time."""

    _encoded: list[bytes] = field(default_factory=list)
    _size_bytes: int = 0
    _lines: int = 0
    _spans: dict[int, _OpenSpan] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to seal."""
        return not self._encoded

    def add(
        self, encoded: bytes, piece: Piece, *, generation: int, fingerprint: Fingerprint
    ) -> Record | None:
        """Add one encoded piece; return the record it no longer fitted in, sealed.

        Pieces of one generation are given in the order of the file, without a gap; ``fingerprint`` is
        the file's at the end of this one.
        """
        if len(encoded) > MAX_RECORD_BYTES:
            raise ValueError(f"{len(encoded)} bytes can never fit a record of {MAX_RECORD_BYTES}")
        sealed = self.seal() if self._size_bytes + len(encoded) > MAX_RECORD_BYTES else None
        span = self._spans.get(generation)
        if span is None:
            self._spans[generation] = _OpenSpan(piece.start, piece, fingerprint)
        else:
            span.last = piece
            span.fingerprint = fingerprint
        self._encoded.append(encoded)
        self._size_bytes += len(encoded)
        self._lines += piece.is_last
        return sealed

    def seal(self) -> Record | None:
        """Return what is there as a record, and start the next one."""
        if self.is_empty:
            return None
        record = Record(
            data=b"".join(self._encoded),
            spans=tuple(_close(generation, span) for generation, span in self._spans.items()),
            lines=self._lines,
        )
        self._encoded, self._size_bytes, self._lines, self._spans = [], 0, 0, {}
        return record


def _close(generation: int, span: _OpenSpan) -> Span:
    return Span(
        generation=generation,
        start=span.start,
        end=span.last.end,
        parts_after=span.last.parts_after,
        fingerprint=span.fingerprint,
    )


def fill_call(records: Sequence[Record]) -> int:
    """Return how many of the leading ``records`` go into one call.

    No file appears in two records of a call: Firehose may refuse the first of them and accept the
    second, and then the order of that file's lines would be lost. That costs calls, not money (bytes
    are billed), and one full record per call already exceeds a stream's default quota of bytes.
    """
    size_bytes = _CALL_OVERHEAD_BYTES
    seen: set[int] = set()
    for index, record in enumerate(records[:MAX_CALL_RECORDS]):
        size_bytes += record.call_bytes
        generations = {span.generation for span in record.spans}
        if index and (size_bytes > MAX_CALL_BYTES or not seen.isdisjoint(generations)):
            return index
        seen |= generations
    return min(len(records), MAX_CALL_RECORDS)
