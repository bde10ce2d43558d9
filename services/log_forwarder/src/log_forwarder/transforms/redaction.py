"""Secrets in log lines -> ``***``. Pure.

Airflow masks the secrets it knows, in task logs only. These rules know what secrets look like: AWS access
keys, JSON Web Tokens, Fernet tokens, ``password=…`` and its relatives, credentials in a URI.

Each rule begins with a literal that ``bytes.find`` looks for, and its expression is only tried where the
literal is. So clean data costs a few passes of ``memmem`` and no regular expression, and no input can
make it slow: every expression is anchored and either bounded or consumes what it matched.

JSON stays JSON: only the inside of a string is replaced, and a bare number becomes the string ``"***"``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MASK = b"***"
LONGEST_NAMED_BYTES = 8192  # of a secret without a closing mark; longer ones are masked in several steps

# A secret begins at a word's start, or after an escaped line break inside a JSON string.
_BEGINS = rb"(?:(?<![\w-])|(?<=\\[nrt]))"


class Hit(NamedTuple):
    """Bytes ``start``..``end`` are a secret and become ``mask``; from ``begins`` on it is known."""

    begins: int
    start: int
    end: int
    mask: bytes


@dataclass(frozen=True, slots=True)
class _Rule:
    """A literal that is looked for, and what must be there for the secret in group ``secret``."""

    needles: tuple[bytes, ...]
    expression: re.Pattern[bytes]
    ignores_case: bool = False
    mask: Callable[[re.Match[bytes]], bytes] = field(default=lambda _match: MASK)

    def hits(self, data: bytes, lowered: bytes) -> Iterator[Hit]:
        """Yield what this rule finds, in the order of each needle."""
        where = lowered if self.ignores_case else data
        for needle in self.needles:
            at = where.find(needle)
            while at >= 0:
                match = self.expression.match(data, at)
                if match is None:
                    at = where.find(needle, at + 1)
                    continue
                start, end = match.span("secret")
                if data[start:end] != MASK:
                    yield Hit(match.start(), start, end, self.mask(match))
                at = where.find(needle, max(match.end("secret"), at + 1))


def _named_mask(match: re.Match[bytes]) -> bytes:
    """A bare JSON value (``"pin_token": 1234``) must become a string, or the line is no JSON any more."""
    quote = match["closing"]
    return quote + MASK + quote if match["bare"] and quote.endswith(b'"') and match["sign"] == b":" else MASK


# name, optional closing quote, = or :, then a value in "…", in \"…\" (JSON inside JSON), in '…', or bare.
_NAMED = re.compile(
    rb"""(?i:pass(?:w(?:or)?d|phrase)|secret|token|(?<=[_-])key|(?<=api)key|authorization)"""
    rb"""[\w-]{0,32}(?P<closing>\\{0,3}["']|)[ \t]{0,8}(?P<sign>=|:)(?!//)[ \t]{0,8}"""
    rb"""(?P<opening>\\{0,3}["']|)"""
    rb"""(?:(?i:bearer|basic|token)[ ]{1,4})?"""
    rb"""(?P<secret>"""
    rb"""(?<=[^\\]")(?:[^"\\\n]|\\[^\n])+"""  # "…" with \" inside
    rb"""|(?<=[^\\]')(?:[^'\\\n]|\\[^\n])+"""
    rb"""|(?<=\\["'])(?:\\{3}["']|\\[^"'\n]|[^"'\\\n])+"""  # \"…\" with \\\" inside
    rb"""|(?P<bare>(?!(?:null|true|false|None|True|False)\b)[^\s"'\\,;&{}\[\]()<>]+)"""
    rb""")"""
)
_QUOTED_AFTER_SCHEME = re.compile(
    rb"""(?i:authorization)[\w-]{0,32}\\{0,3}["']?[ \t]{0,8}[=:][ \t]{0,8}\\{0,3}["']?"""
    rb"""(?i:bearer|basic|token)[ ]{1,4}(?P<secret>[^\s"'\\,;&{}\[\]()<>]+)"""
)

_RULES = (
    _Rule(
        (b"AKIA", b"ASIA"),
        re.compile(_BEGINS + rb"(?P<secret>A(?:K|S)IA[A-Z0-9]{16})(?![A-Za-z0-9])"),
    ),
    _Rule(
        (b"eyJ",),
        re.compile(_BEGINS + rb"(?P<secret>eyJ[\w-]{8,8192}\.eyJ[\w-]{4,65536}\.[\w-]{0,8192})"),
    ),
    _Rule((b"gAAAAA",), re.compile(_BEGINS + rb"(?P<secret>gAAAAA[\w-]{60,65536}={0,2})")),
    _Rule((b"://",), re.compile(rb"""://[^\s/@:"'\\]{0,256}:(?P<secret>[^\s/"'\\]{1,1024})@""")),
    _Rule((b"authorization",), _QUOTED_AFTER_SCHEME, ignores_case=True),
    _Rule(
        (b"pass", b"secret", b"token", b"key", b"authorization"),
        _NAMED,
        ignores_case=True,
        mask=_named_mask,
    ),
)


def find_secrets(data: bytes) -> list[Hit]:
    """Return what would be masked in ``data``, in order and without overlaps; the longer of two wins."""
    lowered = data.lower()
    found = [hit for rule in _RULES for hit in rule.hits(data, lowered)]
    if len(found) < 2:  # noqa: PLR2004 - nothing to order
        return found
    found.sort(key=lambda hit: (hit.start, -hit.end))
    apart: list[Hit] = []
    for hit in found:
        if not apart or hit.start >= apart[-1].end:
            apart.append(hit)
        elif hit.end > apart[-1].end:  # two secrets that overlap are one
            apart[-1] = apart[-1]._replace(end=hit.end)
    return apart


def safe_cut(data: bytes, at: int) -> int:
    """Return a place at or before ``at`` that cuts no secret, nor one from its name; 0 when there is none."""
    for hit in find_secrets(data):
        if hit.begins < at < hit.end:
            return hit.begins
    return at


def redact(data: bytes) -> tuple[bytes, int]:
    """Return ``data`` with every secret masked, and how many there were.

    Idempotent. Give it whole lines: a secret that is cut in two is not seen (see :func:`safe_cut`).
    """
    hits = find_secrets(data)
    if not hits:
        return data, 0
    parts: list[bytes] = []
    at = 0
    for hit in hits:
        parts += (data[at : hit.start], hit.mask)
        at = hit.end
    parts.append(data[at:])
    return b"".join(parts), len(hits)
