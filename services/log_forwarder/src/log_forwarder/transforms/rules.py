"""The options that change lines, as the one ``LineRules`` that an input is given."""

from __future__ import annotations

from collections.abc import Callable

from log_forwarder.transforms.level import Level, LevelFilter
from log_forwarder.transforms.multiline import as_one_line, complete_events, events
from log_forwarder.transforms.redaction import redact


class Rules:
    """Join, then leave out, then redact. A traceback goes with the record it belongs to.

    Pure but for the counts: the same bytes give the same lines.

    Args:
        redacts: mask secrets.
        joins: put the lines of one record together. Not for Airflow's task files: their lines are whole.
        lowest_level: leave out lines that are certainly below it; None: none.
        on_redacted: told how many secrets were masked.
        on_left_out: told how many lines were left out.
    """

    def __init__(
        self,
        *,
        redacts: bool = False,
        joins: bool = False,
        lowest_level: Level | None = None,
        on_redacted: Callable[[int], None] = lambda _count: None,
        on_left_out: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._redacts = redacts
        self._joins = joins
        self._filter = LevelFilter(lowest_level) if lowest_level else None
        self._on_redacted = on_redacted
        self._on_left_out = on_left_out

    def complete(self, data: bytes) -> int:
        """Return how many leading bytes are whole lines, or whole events."""
        return complete_events(data) if self._joins else data.rfind(b"\n") + 1

    def apply(self, data: bytes) -> bytes:
        """Return the lines to send for ``data``; ``b""`` for none."""
        if self._joins or self._filter:
            data = self._line_by_line(data)
        if self._redacts:
            data, count = redact(data)
            if count:
                self._on_redacted(count)
        return data

    def _line_by_line(self, data: bytes) -> bytes:
        is_ended = data.endswith(b"\n")
        lines = data.removesuffix(b"\n").split(b"\n")
        found = events(lines) if self._joins else ([line] for line in lines)
        kept = [event for event in found if self._filter is None or self._filter.keeps(event[0])]
        left_out = len(lines) - sum(map(len, kept))
        if left_out:
            self._on_left_out(left_out)
        lines = [as_one_line(event) for event in kept]
        if not lines:
            return b""
        return b"\n".join(lines) + (b"\n" if is_ended else b"")
