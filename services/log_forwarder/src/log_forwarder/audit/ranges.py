"""Lines of objects -> which bytes of which source are there; and what is not. Pure."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_PREFIX = b'{"_fwd":'
_ID = re.compile(r"^(?P<source>[0-9a-f]+)\.(?P<start>\d+)-(?P<end>\d+)(?:\.\d+)?$")


class Range(NamedTuple):
    """Bytes of a source that an object carries.

    Attributes:
        source: its id.
        path: where the source was.
        start, end: offsets.
        problem: what is wrong with the bytes, or empty.
        digest: of the bytes, where there is a checksum; else None.
    """

    source: str
    path: str
    start: int
    end: int
    problem: str
    digest: int | None


def ranges(lines: Iterable[bytes]) -> Iterator[Range]:
    """Yield the ranges that an object's lines say they are, checked where a checksum is there.

    Lines that say nothing (format ``raw``, or somebody else's) are passed over; one that begins as ours and
    is no JSON is damaged.
    """
    numbered = iter(lines)
    for line in numbered:
        about = _about(line)
        if about is None and line.startswith(_PREFIX):
            yield Range("", "", 0, 0, f"a line is damaged: {line[:60].decode(errors='replace')}", None)
        match = _ID.match(str(about.get("id", ""))) if about else None
        if about is None or match is None:
            continue
        found = Range(
            match["source"],
            str(about.get("source", "")),
            int(match["start"]),
            int(match["end"]),
            "",
            None,
        )
        if "crc32" in about:
            found = _checked(found, about, numbered)
        yield found


def _about(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(_PREFIX):
        return None
    try:
        about = json.loads(line)["_fwd"]
    except ValueError:
        return None
    return about if isinstance(about, dict) else None


def _checked(found: Range, about: dict[str, Any], lines: Iterator[bytes]) -> Range:
    """Read the lines that an envelope announces, and compare them with its checksum."""
    is_part = "part" in about
    wanted = int(about["lines"]) or (1 if is_part or about.get("unterminated") else 0)
    body: list[bytes] = []
    for _ in range(wanted):
        line = next(lines, None)
        if line is None:
            return found._replace(problem=f"{wanted - len(body)} lines are missing after the envelope")
        body.append(line)
    has_newline = not about.get("unterminated") and not (is_part and not about.get("is_last_part"))
    data = b"\n".join(body) + (b"\n" if body and has_newline else b"")
    checksum = zlib.crc32(data)
    if f"{checksum:08x}" != about["crc32"]:
        return found._replace(problem="the bytes do not match their checksum")
    return found._replace(digest=checksum)


class Gap(NamedTuple):
    """Bytes of a source that are in no object: from ``start`` to ``end``."""

    start: int
    end: int


@dataclass(slots=True)
class Source:
    """What is known of one source.

    Attributes:
        path: where it was.
        pieces: ranges as (start, end); adjacent ones are joined as they come.
        accepted: how far the forwarder's own state says that it was accepted, when that was asked.
    """

    path: str
    pieces: list[tuple[int, int]] = field(default_factory=list)
    accepted: int = 0

    def add(self, start: int, end: int) -> None:
        """Take note of a range."""
        if self.pieces and self.pieces[-1][1] == start:
            self.pieces[-1] = (self.pieces[-1][0], end)
        elif not self.pieces or self.pieces[-1] != (start, end):
            self.pieces.append((start, end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is there of one source.

    Attributes:
        source: its id.
        path: where it was.
        end: the highest offset that is there.
        gaps: what is missing before that.
        repeated_bytes: how many bytes are there more than once.
    """

    source: str
    path: str
    end: int
    gaps: tuple[Gap, ...]
    repeated_bytes: int


class Tally:
    """Collects ranges of all objects, in any order.

    Attributes:
        conflicts: ids that are there twice with different bytes: they must not be.
        problems: what is wrong with bytes that are there, one sentence each.
    """

    def __init__(self) -> None:
        self.conflicts: list[str] = []
        self.problems: list[str] = []
        self._sources: dict[str, Source] = {}
        self._digests: dict[tuple[str, int, int], int] = {}

    def add(self, found: Range, *, where: str) -> None:
        """Take note of a range; ``where`` names its object for people."""
        if found.problem:
            place = f"{found.source}.{found.start}-{found.end}: " if found.source else ""
            self.problems.append(f"{where}: {place}{found.problem}")
            return
        key = (found.source, found.start, found.end)
        if found.digest is not None and self._digests.setdefault(key, found.digest) != found.digest:
            self.conflicts.append(f"{found.source}.{found.start}-{found.end} ({found.path})")
        source = self._sources.setdefault(found.source, Source(found.path))
        source.add(found.start, found.end)

    def expect(self, source: str, path: str, end: int) -> None:
        """Take note that a source was accepted up to ``end``, whatever of it is there."""
        self._sources.setdefault(source, Source(path)).accepted = end

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what is there of each source."""
        for name, source in self._sources.items():
            yield _judge(name, source)


def _judge(name: str, source: Source) -> Verdict:
    covered = repeated_bytes = 0
    gaps = []
    for start, end in sorted(source.pieces):
        if start > covered:
            gaps.append(Gap(covered, start))
        else:
            repeated_bytes += max(0, min(covered, end) - start)
        covered = max(covered, end)
    if source.accepted > covered:
        gaps.append(Gap(covered, source.accepted))
    return Verdict(
        source=name, path=source.path, end=covered, gaps=tuple(gaps), repeated_bytes=repeated_bytes
    )
