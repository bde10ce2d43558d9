"""Which bytes of each file were accepted, without a gap. Pure.

An offset may only be written down when everything before it was accepted: a restart reads from there.
"""

from __future__ import annotations

from collections.abc import Iterable

from log_forwarder.batching import Span


class Ledger:
    """Acknowledged spans per generation; out of order is allowed, a gap holds the offset."""

    def __init__(self) -> None:
        self._offsets: dict[int, int] = {}
        self._beyond_a_gap: dict[int, dict[int, Span]] = {}

    def open(self, generation: int, offset: int) -> None:
        """Begin to follow a file from ``offset``; repeating it changes nothing."""
        self._offsets.setdefault(generation, offset)

    def offset(self, generation: int) -> int:
        """Return the offset before which everything was accepted.

        Raises:
            KeyError: the generation is not followed.
        """
        return self._offsets[generation]

    def acknowledge(self, spans: Iterable[Span]) -> list[Span]:
        """Take note of accepted spans; return the last contiguous one of each file that advanced."""
        advanced: dict[int, Span] = {}
        for span in spans:
            if span.generation not in self._offsets:
                continue  # forgotten meanwhile: its file is gone or was truncated
            waiting = self._beyond_a_gap.setdefault(span.generation, {})
            waiting[span.start] = span
            while (following := self._take_following(span.generation)) is not None:
                self._offsets[span.generation] = following.end
                advanced[span.generation] = following
            if not waiting:
                del self._beyond_a_gap[span.generation]
        return list(advanced.values())

    def _take_following(self, generation: int) -> Span | None:
        """Take out a span that moves the offset; a file that was read twice makes spans overlap."""
        offset = self._offsets[generation]
        waiting = self._beyond_a_gap[generation]
        for start in [start for start in waiting if start <= offset]:
            span = waiting.pop(start)
            if span.end > offset:
                return span
        return None

    def forget(self, generation: int) -> None:
        """Stop following a file."""
        self._offsets.pop(generation, None)
        self._beyond_a_gap.pop(generation, None)
