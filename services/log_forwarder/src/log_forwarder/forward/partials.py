"""The parts of a long line, as Docker cuts it at 16 KiB -> the line. Pure, and bounded.

Docker's drivers mark parts with ``partial_message`` "true", ``partial_id``, ``partial_ordinal`` (from 1)
and ``partial_last`` (https://github.com/moby/moby/blob/master/daemon/logger/fluentd/fluentd.go). Parts
of one line come in order and from one container; lines of others come between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")
P = TypeVar("P")

LONGEST_WAIT_SECONDS = 5.0  # parts follow each other at once; a gap means that the rest was lost
LONGEST_LINE_BYTES = 4 * 1024 * 1024
MOST_HELD_BYTES = 16 * 1024 * 1024


class Joined(NamedTuple, Generic[K, P]):
    """A line that was put together.

    Attributes:
        key: whose line.
        text: the parts, one after the other.
        begin: where its first part is.
        end: where to go on after its last part.
        is_whole: False when its last part never came, or it was cut at a bound.
    """

    key: K
    text: bytes
    begin: P
    end: P
    is_whole: bool


@dataclass(slots=True)
class _Held(Generic[P]):
    partial_id: bytes
    begin: P
    end: P
    since: float
    texts: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class Partials(Generic[K, P]):
    """Holds the beginnings of lines whose end has not come.

    A key is one stream of one container; ``P`` is a place in the input, of which we only hand back.
    """

    def __init__(
        self, *, longest_line_bytes: int = LONGEST_LINE_BYTES, most_held_bytes: int = MOST_HELD_BYTES
    ) -> None:
        self._longest_line_bytes = longest_line_bytes
        self._most_held_bytes = most_held_bytes
        self._held: dict[K, _Held[P]] = {}
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def begins(self) -> list[P]:
        """Return where each line that is held begins."""
        return [held.begin for held in list(self._held.values())]  # asked by other threads too

    def is_held(self, key: K) -> bool:
        """Whether a line of this key is waiting for its end."""
        return key in self._held

    def add(
        self, key: K, *, partial_id: bytes, text: bytes, is_last: bool, begin: P, end: P, now: float
    ) -> list[Joined[K, P]]:
        """Take a part; return the lines that are complete, or given up, now: mostly none or one."""
        done = []
        held = self._held.get(key)
        if held is not None and held.partial_id != partial_id:
            done.append(self._take(key, is_whole=False))
            held = None
        if held is None:
            held = self._held[key] = _Held(partial_id, begin, end, now)
        held.texts.append(text)
        held.size_bytes += len(text)
        held.end, held.since = end, now
        self.held_bytes += len(text)
        if is_last or held.size_bytes >= self._longest_line_bytes:
            done.append(self._take(key, is_whole=is_last))
        while self.held_bytes > self._most_held_bytes:
            done.append(self._take(next(iter(self._held)), is_whole=False))
        return done

    def give_up(self, key: K) -> Joined[K, P] | None:
        """Take what there is of a line whose stream went on without ending it."""
        return self._take(key, is_whole=False) if key in self._held else None

    def expired(self, now: float, *, wait_seconds: float = LONGEST_WAIT_SECONDS) -> list[Joined[K, P]]:
        """Take what waited too long for its next part."""
        late = [key for key, held in self._held.items() if now - held.since >= wait_seconds]
        return [self._take(key, is_whole=False) for key in late]

    def _take(self, key: K, *, is_whole: bool) -> Joined[K, P]:
        held = self._held.pop(key)
        self.held_bytes -= held.size_bytes
        return Joined(key, b"".join(held.texts), held.begin, held.end, is_whole)
