"""Globs as a shell means them: one expression for files and one for the directories above. Pure."""

from __future__ import annotations

import re

_MAGIC = re.compile(r"[*?\[]")
_ANY_DEPTH = "**"
_ANY = r"(?:/(?!\.)[^/]+)*"
_TOKENS = re.compile(r"\[!?[^]]+\]|.", re.DOTALL)
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}


def is_literal(pattern: str) -> bool:
    """Say whether a pattern has no wildcard."""
    return _MAGIC.search(pattern) is None


class Pattern:
    """One absolute glob. A wildcard does not match a leading dot (temporary files, NFS's ``.nfs…``).

    Attributes:
        root: the literal directory it begins with.
    """

    def __init__(self, pattern: str) -> None:
        names = [name for name in pattern.split("/") if name not in ("", ".")]
        literal = 0
        while literal < len(names) - 1 and is_literal(names[literal]):
            literal += 1
        self.root = "/" + "/".join(names[:literal])
        self._file = re.compile(_expression(names) + r"\Z", re.DOTALL)
        directories = "".join(f"(?:{_name(name)}" for name in names[literal:-1])
        closing = ")?" * len(names[literal:-1])
        below = _ANY if _ANY_DEPTH in names else ""
        above = re.escape(self.root.rstrip("/")) + directories + closing + below
        self._above = re.compile(above + r"/?\Z", re.DOTALL)

    def matches(self, path: str) -> bool:
        """Say whether it names this file."""
        return self._file.match(path) is not None

    def leads_through(self, directory: str) -> bool:
        """Say whether it may name files in, or below, this directory."""
        return self._above.match(directory) is not None


def _expression(names: list[str]) -> str:
    *before, last = names
    text = "".join(_name(name) for name in before)
    return text + (_ANY.removesuffix("*") + "+" if last == _ANY_DEPTH else _name(last))


def _name(name: str) -> str:
    """Return the expression for one segment and the slash before it."""
    if name == _ANY_DEPTH:
        return _ANY
    hidden = "" if name.startswith(".") else r"(?!\.)"
    return f"/{hidden}" + "".join(_WILDCARDS.get(token) or _literal(token) for token in _TOKENS.findall(name))


def _literal(token: str) -> str:
    if len(token) > 1:  # [abc], [!abc]
        inside = token[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
    return re.escape(token)
