"""How long a record may wait to fill. Pure.

Firehose bills in units of 5 KB, so a record of n bytes wastes 2,560 on average: 2 % at 128 KB. Waiting
is worth it when that much will come soon, and worth nothing when it will not: a trickle is sent after
``flush_seconds`` like everything else, and costs cents.
"""

from __future__ import annotations

WORTHWHILE_BYTES = 128 * 1024
_LONGEST_FLUSHES = 12


def is_due(likely_bytes: int, age_seconds: float, *, flush_seconds: float) -> bool:
    """Say whether a record that holds ``likely_bytes`` after ``age_seconds`` should go.

    It waits for ``flush_seconds`` at least; then, while at its own pace it would become worthwhile within
    twelve times as long, until it is.
    """
    if age_seconds < flush_seconds:
        return False
    longest_seconds = _LONGEST_FLUSHES * flush_seconds
    if age_seconds >= longest_seconds or likely_bytes >= WORTHWHILE_BYTES:
        return True
    return likely_bytes * longest_seconds / age_seconds < WORTHWHILE_BYTES
