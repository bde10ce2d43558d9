"""Lines below a level are left out. Pure.

Only a line whose level is certain is judged: the top-level ``level`` of a JSON line, or the bracket that
structlog's console renderer writes after its timestamp. A line that says nothing, such as ``print()`` or
a traceback, always passes: unknown is not "unimportant".
"""

from __future__ import annotations

import json
import re
from typing import Literal

Level = Literal["debug", "info", "warning", "error", "critical"]

_RANK = {
    b"notset": 0,
    b"trace": 5,
    b"debug": 10,
    b"info": 20,
    b"warn": 30,
    b"warning": 30,
    b"error": 40,
    b"exception": 40,
    b"critical": 50,
    b"fatal": 50,
}
_IN_JSON = re.compile(rb'[{,]\s*"level"\s*:\s*"([A-Za-z]+)"')
_IN_TEXT = re.compile(rb"\[?\d{4}-\d\d-\d\d[T ][\d:.,+\-Z]{8,32}\]? \[([a-z]+) *\]")
_COLOUR = re.compile(rb"\x1b\[[0-9;]{0,16}m")
_OBJECT_FIRST = 0x7B  # {
_LONGEST_PREFIX_BYTES = 256


class LevelFilter:
    """Says which lines stay.

    Args:
        lowest: the lowest level that stays.
    """

    def __init__(self, lowest: Level) -> None:
        self._lowest = _RANK[lowest.encode()]

    def keeps(self, line: bytes) -> bool:
        """Return False only for a line that is certainly below the level."""
        if line and line[0] == _OBJECT_FIRST:
            match = _IN_JSON.search(line)
            # A nested object may have a level of its own, so what would be left out is read properly.
            return match is None or not self._is_low(match[1]) or not self._is_low(_top_level(line))
        match = _IN_TEXT.match(_COLOUR.sub(b"", line[:_LONGEST_PREFIX_BYTES]))
        return match is None or not self._is_low(match[1])

    def _is_low(self, name: bytes) -> bool:
        return _RANK.get(name.lower(), self._lowest) < self._lowest


def _top_level(line: bytes) -> bytes:
    """Return the object's own level; empty when it has none, or is not JSON after all."""
    try:
        level = json.loads(line).get("level")
    except (ValueError, RecursionError):
        return b""
    return level.encode(errors="replace") if isinstance(level, str) else b""
