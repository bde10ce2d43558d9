"""Records and calls, within Firehose's limits. Pure.

Firehose bills each record rounded up to 5 KB, so lines are packed until a record is full or may wait no
longer. A record's bytes are fixed when it is sealed: every retry sends the same ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from log_forwarder.inputs.base import Origin, Range, Span

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
class Record:
    """One Firehose record, sealed.

    Attributes:
        number: its place in the order of this process; records of one origin are sent in this order.
        id: digest of the ranges it carries; the same ranges give the same id after a restart.
        data: what is sent, at most ``MAX_RECORD_BYTES``.
        spans: where it came from, in the order of their lines.
        plan: per member the ranges it was made of: enough to make the same bytes again.
        lines: lines that end in it.
        plain_bytes: what was packed into it, before compression.
        origins: whose bytes it carries.
    """

    number: int
    id: str
    data: bytes
    spans: tuple[Span, ...]
    plan: tuple[tuple[Range, ...], ...]
    lines: int
    plain_bytes: int
    origins: frozenset[Origin] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "origins", frozenset(span.origin for span in self.spans))

    @property
    def billed_bytes(self) -> int:
        """What Firehose charges for it."""
        return billed_bytes(len(self.data))

    @property
    def call_bytes(self) -> int:
        """What it takes of a call's limit."""
        return -(-len(self.data) // 3) * 4 + _RECORD_OVERHEAD_BYTES


def billed_bytes(record_bytes: int) -> int:
    """Return what Firehose charges for a record of this size."""
    return -(-record_bytes // BILLING_UNIT_BYTES) * BILLING_UNIT_BYTES


def fill_call(records: Sequence[Record], *, in_flight: Collection[Origin] = ()) -> list[Record]:
    """Choose the records of the next call, from the first on, whatever can go now.

    No origin is in two records of a call, or in a call while another one is in flight: Firehose may
    refuse the earlier and accept the later, and then the order of that file's lines would be lost. Nor
    does a record overtake an earlier one of the same origin. That costs calls, not money (bytes are
    billed).

    Args:
        records: what waits, in order.
        in_flight: origins of the calls that have not ended.
    """
    size_bytes = _CALL_OVERHEAD_BYTES
    blocked = set(in_flight)
    chosen: list[Record] = []
    for record in records:
        may_go = blocked.isdisjoint(record.origins)
        blocked |= record.origins
        if not may_go:
            continue
        if chosen and size_bytes + record.call_bytes > MAX_CALL_BYTES:
            break
        size_bytes += record.call_bytes
        chosen.append(record)
        if len(chosen) == MAX_CALL_RECORDS:
            break
    return chosen
