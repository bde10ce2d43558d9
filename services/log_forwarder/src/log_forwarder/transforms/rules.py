"""The options that change lines, as the one ``LineRules`` that an input is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from log_forwarder.framing import part_end
from log_forwarder.transforms.level import Level, LevelFilter
from log_forwarder.transforms.multiline import as_one_line, complete_events, events
from log_forwarder.transforms.redaction import redact, safe_cut

LOOKAHEAD_BYTES = 16 * 1024  # longer than any token that AWS, an identity provider or Fernet hands out


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

    def shares(self, data: bytes) -> Sequence[int]:
        """Return how many bytes each line to send stands for; what was left out counts to a neighbour."""
        shares: list[int] = []
        left_out = 0
        for event in self._events(data.removesuffix(b"\n").split(b"\n")):
            size_bytes = sum(map(len, event)) + len(event)
            if self._filter is None or self._filter.keeps(event[0]):
                shares.append(size_bytes + left_out)
                left_out = 0
            elif shares:
                shares[-1] += size_bytes
            else:
                left_out += size_bytes
        if shares and not data.endswith(b"\n"):
            shares[-1] -= 1
        return shares

    def part_end(self, data: bytes) -> int:
        """Return where to cut a piece of a long line: in no character and, if they are masked, in no secret.

        A secret is seen that ends in the last ``LOOKAHEAD_BYTES`` of ``data`` or before; a longer one is cut.
        """
        end = part_end(data)
        if not self._redacts:
            return end
        end = part_end(data[: max(end - LOOKAHEAD_BYTES, end // 2)])
        return safe_cut(data, end) or end

    def _events(self, lines: list[bytes]) -> Iterable[list[bytes]]:
        return events(lines) if self._joins else ([line] for line in lines)

    def _line_by_line(self, data: bytes) -> bytes:
        is_ended = data.endswith(b"\n")
        lines = data.removesuffix(b"\n").split(b"\n")
        found = self._events(lines)
        kept = [event for event in found if self._filter is None or self._filter.keeps(event[0])]
        left_out = len(lines) - sum(map(len, kept))
        if left_out:
            self._on_left_out(left_out)
        lines = [as_one_line(event) for event in kept]
        if not lines:
            return b""
        return b"\n".join(lines) + (b"\n" if is_ended else b"")
