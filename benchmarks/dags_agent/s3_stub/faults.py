"""Scripts of faults: what the stub does instead of answering, how often, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ACTIONS = ("status", "reset", "close", "truncate", "flip", "stall", "drop_after", "trickle")


@dataclass(slots=True, kw_only=True)
class Fault:
    """One line of a script.

    Attributes:
        do: ``status`` (answer that), ``reset`` (no answer, connection gone), ``close`` (answer, then close
            without having said so), ``truncate`` (say the full length, send less, close), ``flip`` (one byte
            is another), ``stall`` (never answer), ``drop_after`` (as truncate, after ``after_bytes``).
        operation: ``list`` or ``get``; empty for both.
        key: of the object, or for ``list`` the number of the page from 0; empty for every.
        times: how often; below 0 for ever.
        skip: how many that match go by first.
    """

    do: str
    operation: str = ""
    key: str = ""
    times: int = 1
    skip: int = 0
    status: int = 503
    code: str = ""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    after_bytes: int = 0

    def __post_init__(self) -> None:
        if self.do not in ACTIONS:
            raise ValueError(self.do)

    def meets(self, operation: str, key: str) -> bool:
        """Return whether this is played now, and count it."""
        if self.times == 0 or (self.operation and self.operation != operation):
            return False
        if self.key and self.key != key:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


def read_faults(document: list[Mapping[str, Any]]) -> list[Fault]:
    """Read a script; raises TypeError or ValueError."""
    return [Fault(**line) for line in document]
