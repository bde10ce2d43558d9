"""Globs over relative paths, in the few rules of .gitignore that people expect. Pure.

``*`` and ``?`` stay inside one name, ``**`` crosses directories, ``[ab]`` is a set. A pattern without a
slash matches a name at any depth; with one at its beginning or in its middle, the path from the top. A
match on a directory takes all that lies below it; a trailing slash matches directories only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


def matches_any(path: str, patterns: Sequence[str]) -> bool:
    """Return whether one of ``patterns`` takes ``path`` (relative, ``/`` between names)."""
    return any(_matches(path, pattern) for pattern in patterns)


def refuse_unusable(patterns: Sequence[str]) -> None:
    """Raise ValueError for a pattern that means nothing, such as ``[z-a]``."""
    for pattern in patterns:
        try:
            _compiled(pattern)
        except re.error as err:
            raise ValueError(f"{pattern!r} is not a usable glob: {err.msg}") from None


def _matches(path: str, pattern: str) -> bool:
    names = path.split("/")
    wants_directory = pattern.endswith("/")
    is_anchored = "/" in pattern.rstrip("/")
    regex = _compiled(pattern.strip("/"))
    depths = range(1, len(names) if wants_directory else len(names) + 1)
    if is_anchored:
        return any(regex.fullmatch("/".join(names[:depth])) for depth in depths)
    return any(regex.fullmatch(names[depth - 1]) for depth in depths)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^]/]+\])", pattern)
    return re.compile("".join(_translated(token) for token in tokens), re.DOTALL)


def _translated(token: str) -> str:
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if token in fixed:
        return fixed[token]
    if token.startswith("[") and token.endswith("]"):
        is_negated = token.startswith("[!")
        body = token[2 if is_negated else 1 : -1].replace("\\", r"\\").replace("^", r"\^").replace("[", r"\[")
        return f"(?!/)[{'^' if is_negated else ''}{body}]"
    return re.escape(token)
