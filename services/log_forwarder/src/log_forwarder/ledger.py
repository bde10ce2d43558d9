"""Which bytes of each origin were accepted, without a gap. Pure.

An offset may only be written down when everything before it was accepted: a restart reads from there.
Only origins with something on its way are remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from log_forwarder.inputs.base import Origin, Span


@dataclass(slots=True)
class _Way:
    """What of one origin is on its way: from ``accepted`` to ``sent``."""

    accepted: int
    sent: int
    beyond_a_gap: dict[int, Span] = field(default_factory=dict)


class Ledger:
    """Spans that were handed on, and those that were accepted; out of order is allowed, a gap holds."""

    def __init__(self) -> None:
        self._ways: dict[Origin, _Way] = {}

    def __len__(self) -> int:
        return len(self._ways)

    def hand_on(self, spans: Iterable[Span]) -> None:
        """Take note of spans that are to be sent, in the order of their origins."""
        for span in spans:
            way = self._ways.get(span.origin)
            if way is None:
                self._ways[span.origin] = _Way(span.start, span.end)
            else:
                way.sent = span.end

    def acknowledge(self, spans: Iterable[Span]) -> list[Span]:
        """Take note of accepted spans; return the last contiguous one of each origin that advanced.

        One without a position is not returned: nobody could go on from there.
        """
        advanced: dict[Origin, Span] = {}
        for span in spans:
            way = self._ways.get(span.origin)
            if way is None:
                continue
            way.beyond_a_gap[span.start] = span
            while (following := way.beyond_a_gap.pop(way.accepted, None)) is not None:
                way.accepted = following.end
                if following.position is not None:
                    advanced[span.origin] = following
            if way.accepted >= way.sent:
                del self._ways[span.origin]
        return list(advanced.values())
