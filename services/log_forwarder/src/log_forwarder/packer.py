"""Chunks -> segments -> members -> records. Used by the reading thread alone; no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from log_forwarder.batching import MAX_RECORD_BYTES, Record
from log_forwarder.compression import Compress
from log_forwarder.envelope import (
    HEADER_BYTES,
    MAX_MEMBER_BYTES,
    Format,
    Segment,
    body,
    header,
    json_chunks,
    raw,
)
from log_forwarder.inputs.base import MAX_CHUNK_BYTES, Chunk, Origin, Range, Span
from log_forwarder.ruled import pieces

_FIRST_GUESS = 0.25  # compressed size, as a share of the plain one


@dataclass(slots=True)
class _Open:
    """A segment that still grows."""

    chunks: list[Chunk]
    end: int

    def is_continued_by(self, chunk: Chunk) -> bool:
        last = self.chunks[-1]
        return self.end == chunk.start and not (last.part or last.is_unfinished or chunk.part)


@dataclass(slots=True)
class _Draft:
    """The record that is being filled: its finished members."""

    members: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    plain_bytes: int = 0
    lines: int = 0
    spans: list[Span] = field(default_factory=list)
    plan: list[tuple[Range, ...]] = field(default_factory=list)


class Packer:
    """Fills one record at a time.

    Args:
        line_format: what lines look like.
        compress: makes a member.
        facts: what every envelope says about where we run.
        last_number: the first record's number is one more.
        joins: what two adjacent chunks are made into may not be what they are made into at once: plans keep
            them apart.
    """

    def __init__(
        self,
        *,
        line_format: Format,
        compress: Compress,
        facts: Mapping[str, object],
        last_number: int = 0,
        joins: bool = False,
    ) -> None:
        self._format = line_format
        self._compress = compress
        self._facts = facts
        self._segments: list[_Open] = []
        self._latest: dict[Origin, _Open] = {}
        self._open_bytes = 0
        self._draft = _Draft()
        self._ratio = _FIRST_GUESS
        self._number = last_number
        self._joins = joins
        self.oldest_at: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to seal."""
        return not self._segments and not self._draft.members

    @property
    def likely_bytes(self) -> int:
        """How large the record would be if it were sealed now; a guess for what is not compressed yet."""
        return self._draft.size_bytes + int(self._open_bytes * self._ratio)

    def held_since(self) -> dict[str, float]:
        """Return since when the oldest byte of each kind of origin waits here."""
        since: dict[str, float] = {}
        waiting = [
            (chunk.origin, chunk.read_at) for segment in self._segments for chunk in segment.chunks[:1]
        ]
        for origin, read_at in [*waiting, *((span.origin, span.read_at) for span in self._draft.spans)]:
            since[origin.kind] = min(read_at, since.get(origin.kind, read_at))
        return since

    def add(self, chunk: Chunk) -> Iterator[Record]:
        """Add a chunk; yield the records that became full by it."""
        is_json = self._format == "json"
        for piece in json_chunks(chunk, self._facts) if is_json else pieces(chunk, MAX_CHUNK_BYTES):
            yield from self._add(piece)

    def seal(self) -> Iterator[Record]:
        """Yield what is there as a record, or two when it does not fit one."""
        yield from self._close_member()
        if self._draft.members:
            yield self._seal()

    def again(self, plan: Iterable[tuple[Chunk, ...]]) -> Iterator[Record]:
        """Pack chunks as an earlier process did: these members, in one record."""
        for chunks in plan:
            for chunk in chunks:
                yield from self.add(chunk)
            yield from self._close_member()
        yield from self.seal()

    def _add(self, chunk: Chunk) -> Iterator[Record]:
        if self._open_bytes + len(chunk.data) > MAX_MEMBER_BYTES:
            yield from self._close_member()
        if self.oldest_at is None:
            self.oldest_at = chunk.read_at
        latest = self._latest.get(chunk.origin)
        if latest is not None and latest.is_continued_by(chunk):
            latest.chunks.append(chunk)
            latest.end = chunk.end
        else:
            latest = _Open([chunk], chunk.end)
            self._segments.append(latest)
            self._latest[chunk.origin] = latest
            self._open_bytes += HEADER_BYTES if self._format == "envelope" else 0
        self._open_bytes += len(chunk.data)

    def _close_member(self) -> Iterator[Record]:
        """Compress what is open into a member; yield the record it no longer fitted in."""
        if not self._segments:
            return
        segments = [_segment(opened) for opened in self._segments]
        plain = b"".join(self._encoded(segments))
        member = self._compress(plain)
        if plain:
            self._ratio = len(member) / len(plain)
        if self._draft.size_bytes + len(member) > MAX_RECORD_BYTES and self._draft.members:
            yield self._seal()
        draft = self._draft
        draft.members.append(member)
        draft.size_bytes += len(member)
        draft.plain_bytes += len(plain)
        draft.lines += sum(segment.lines for segment in segments)
        draft.spans += [_span(opened) for opened in self._segments]
        draft.plan.append(tuple(part for opened in self._segments for part in self._ranges(opened)))
        self._segments, self._latest, self._open_bytes = [], {}, 0

    def _encoded(self, segments: Iterable[Segment]) -> Iterator[bytes]:
        for segment in segments:
            if self._format == "envelope":
                yield header(segment, self._facts)
                yield body(segment)
            elif self._format == "json":
                yield segment.data
            else:
                yield raw(segment)

    def _ranges(self, opened: _Open) -> Iterator[Range]:
        if self._joins:
            yield from (_range(chunk, chunk) for chunk in opened.chunks)
        else:
            yield _range(opened.chunks[0], opened.chunks[-1])

    def _seal(self) -> Record:
        draft, self._draft = self._draft, _Draft()
        self._number += 1
        self.oldest_at = min(
            (chunk.read_at for opened in self._segments for chunk in opened.chunks[:1]), default=None
        )
        return Record(
            number=self._number,
            id=_digest(draft.plan),
            data=b"".join(draft.members),
            spans=tuple(draft.spans),
            plan=tuple(draft.plan),
            lines=draft.lines,
            plain_bytes=draft.plain_bytes,
        )


def _segment(opened: _Open) -> Segment:
    first, last = opened.chunks[0], opened.chunks[-1]
    data = first.data if first is last else b"".join(chunk.data for chunk in opened.chunks)
    lines = sum(chunk.lines for chunk in opened.chunks)
    return Segment(first.origin, first.start, last.end, data, first.part, last.is_unfinished, lines)


def _span(opened: _Open) -> Span:
    first, last = opened.chunks[0], opened.chunks[-1]
    return Span(first.origin, first.start, last.end, last.position, first.read_at)


def _range(first: Chunk, last: Chunk) -> Range:
    return Range(first.origin.source, first.start, last.end, first.part, last.is_unfinished)


def _digest(plan: Iterable[tuple[Range, ...]]) -> str:
    """Return the id of a record: from where its bytes are, so that it is the same after a restart."""
    text = ";".join(",".join(f"{part.source}.{part.start}-{part.end}" for part in member) for member in plan)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
