"""Secret values: literal or by Secrets Manager id, re-read when they were refused, never printed.

Every value that passes through here is remembered, so that the log writer can mask it wherever it
turns up, also inside somebody else's exception text.
"""

from __future__ import annotations

import json
import threading
from typing import Protocol
from urllib.parse import quote

MASK = "**********"
_SHORTEST_MASKED = 4  # masking "a" or "db" would make every log line unreadable and hide nothing

_known: set[str] = set()
_lock = threading.Lock()


def remember(value: str) -> None:
    """Mask ``value`` in everything that is written from now on, as it is, in JSON and in a URL."""
    if len(value) >= _SHORTEST_MASKED:
        with _lock:
            _known.update((value, json.dumps(value)[1:-1], quote(value, safe="")))


def mask(text: str) -> str:
    """Return ``text`` with every remembered secret replaced."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for value in known:
        if value in text:
            text = text.replace(value, MASK)
    return text


class Reader(Protocol):
    """Reads one secret's current value, by id."""

    def __call__(self, secret_id: str) -> str:
        """Return the value; raises ConfigError (absent, refused) or Transient."""


class Secret:
    """One secret: given literally, or by the id of a Secrets Manager secret.

    :meth:`value` reads once and caches. After the other side refused it, call :meth:`refresh`: it
    reads again and says whether a new value is worth a try. That is all that rotation needs.
    """

    def __init__(self, *, literal: str | None = None, secret_id: str | None = None, read: Reader) -> None:
        self._literal = literal
        self._secret_id = secret_id
        self._read = read
        self._cached: str | None = None

    @property
    def source(self) -> str:
        """Where the value comes from, for error texts. Never the value."""
        return f"secret {self._secret_id!r}" if self._secret_id else "the settings"

    def value(self) -> str:
        """Return the value, reading it on the first call."""
        if self._cached is None:
            self._cached = self._read(self._secret_id) if self._secret_id else (self._literal or "")
            remember(self._cached)
        return self._cached

    def refresh(self) -> bool:
        """Read the value again; return whether it changed. A literal never changes."""
        if not self._secret_id:
            return False
        before, self._cached = self._cached, None
        return self.value() != before

    def __repr__(self) -> str:
        """Name the source, never the value."""
        return f"Secret(from {self.source})"
