"""What an input is: the one seam between where lines come from and how they are shipped.

An input hands out :class:`Chunk` s, buffers of whole lines with the byte range they were taken from.
Nothing per line exists on this path: a megabyte of log is one object. What is behind a chunk must stay
readable until the chunk's :class:`Keeper` is told that everything up to a place was accepted: a tailed
file *is* its own spool, and what was pushed to us is in spool segments on disk before it is a chunk.

    input --chunks--> reader --(LineRules, envelope, compression)--> record --> Firehose --> keeper
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from log_forwarder.framing import line_bytes, part_end

MAX_CHUNK_BYTES = 900 * 1024
"""The longest ``Chunk.data``: with its envelope it fits a record even when it cannot be compressed."""

Kind = Literal["airflow_task", "file", "forward", "docker", "stdin"]


class Keeper(Protocol):
    """Remembers on disk how far a source was accepted. Called by sender threads."""

    def keep(self, spans: Sequence[Span]) -> None:
        """Write down the ends of these spans, one per source; durable when this returns.

        Everything before an end was accepted, without a gap. Repeating it changes nothing.
        """


class Origin:
    """Where lines come from: one file in one of its lives, or one stream of pushed lines.

    Compared by identity; an input makes one per source and keeps it while it is followed.

    Attributes:
        source: 16 hex digits that no other source of this state directory has, the same after a restart.
            Ids of records and lines begin with it.
        path: for people: the file's path, or e.g. ``forward:web-firelens-0123``.
        kind: what sort of source it is; also a label of metrics.
        about: what the envelope says beyond that; JSON values. Constant for the life of the origin.
        keeper: who is told what was accepted.
    """

    __slots__ = ("about", "keeper", "kind", "path", "source")

    def __init__(
        self, *, source: str, path: str, kind: Kind, keeper: Keeper, about: Mapping[str, object]
    ) -> None:
        self.source = source
        self.path = path
        self.kind = kind
        self.keeper = keeper
        self.about = about


class Chunk(NamedTuple):
    """Bytes of one origin, in order and without a gap to the chunk before.

    Attributes:
        origin: whose bytes.
        start: offset of the first byte in the source.
        end: offset after the last byte in the source. Filters may make ``data`` shorter or longer than
            the range; the range is what is accounted for.
        data: whole lines, each with its newline; or one part of a line that is too long; or an unfinished
            last line. At most ``MAX_CHUNK_BYTES``.
        position: what the keeper needs to know to go on at ``end``; opaque to all others.
        read_at: when it was read (monotonic seconds): the age of what waits is counted from here.
        part: 0 for whole lines; else the number of this part of a long line, from 1.
        is_unfinished: of a part: its line goes on. Of others: the last line has no newline, since nobody
            wrote one. (The last part of a long line may lack one, too: its file went silent.)
        lines: lines that end in ``data``; counted by the reader.
        shares: how many bytes of the source each line of ``data`` stands for, when the rules changed it;
            None: its own.
        place_at: returns the ``position`` after this many bytes of the chunk, which end a line; None: a
            restart goes on only after the whole chunk.
    """

    origin: Origin
    start: int
    end: int
    data: bytes
    position: object
    read_at: float
    part: int = 0
    is_unfinished: bool = False
    lines: int = 0
    shares: Sequence[int] | None = None
    place_at: Callable[[int], object] | None = None


class Span(NamedTuple):
    """A range of one origin that a record carries, or that was accepted.

    Attributes:
        origin: whose bytes.
        start, end: offsets in the source.
        position: what the keeper needs to go on at ``end``.
        read_at: when its oldest byte was read.
    """

    origin: Origin
    start: int
    end: int
    position: object
    read_at: float


class Range(NamedTuple):
    """A range that an earlier process put into a record, and that must be cut the same way again.

    Attributes:
        source: the origin's id.
        start, end: offsets in the source.
        part, is_unfinished: as of the chunk (see :class:`Chunk`).
    """

    source: str
    start: int
    end: int
    part: int
    is_unfinished: bool


class Input(Protocol):
    """A place that lines come from. All but :meth:`lag_bytes` is called by the reading thread alone."""

    @property
    def descriptors(self) -> Sequence[int]:
        """File descriptors that become readable when there is news; a thread may as well wake the reader."""

    def look(self) -> None:
        """Take note of what is new, handing nothing out; called every turn, also while there is no room."""

    def chunks(self) -> Iterator[Chunk]:
        """Hand out what can be read now, in the order of each origin; return when there is nothing.

        The caller stops asking when there is no room behind it; then the next call goes on where this one
        stopped. A chunk that was yielded counts as handed on. Never blocks; raises nothing for one bad
        source, it is told and tried again later.
        """

    def apply(self, chunk: Chunk) -> Chunk:
        """Return a chunk with the lines to send: what the rules of its source make of ``chunk.data``."""

    def again(self, wanted: Range) -> Chunk | None:
        """Hand out exactly this range, before anything else of its source; None when that cannot be.

        Asked only at the start, for records that were planned before a crash, so that what is repeated is
        repeated byte for byte. It must begin where the source was accepted up to, or where the range before
        it ended. After None the bytes come from :meth:`chunks`, cut in whatever way.
        """

    def due_seconds(self) -> float:
        """Return in how many seconds :meth:`chunks` should be asked again though nobody woke the reader."""

    def begin_to_finish(self) -> None:
        """The process is to end: take a last look; what is there now is what is left to hand out.

        From now on unfinished lines are handed out too. A listener keeps draining its sockets until its
        clients are gone or its own share of the stop timeout is over.
        """

    @property
    def is_finished(self) -> bool:
        """Whether, after :meth:`begin_to_finish`, everything was handed out."""

    def lag_bytes(self) -> int:
        """Return how many bytes are there and not accepted yet (after the last look). Any thread.

        After :meth:`begin_to_finish`: of what was there then.
        """

    def unread_since(self) -> dict[Kind, float]:
        """Return since when (monotonic seconds) the oldest byte waits that was not handed out, by kind."""

    def close(self) -> None:
        """Let go of descriptors and threads. Idempotent."""


class LineRules(Protocol):
    """What is done to lines between reading and packing: redaction, joining, filtering.

    Pure and deterministic: after a restart the same bytes give the same lines, hence the same ids.
    """

    def complete(self, data: bytes) -> int:
        """Return how many leading bytes of ``data`` can be handed on: whole lines, or whole events.

        0 when more must be awaited; what is left is offered again with what follows, or, when nothing
        follows for a while, handed on as it is.
        """

    def apply(self, data: bytes) -> bytes:
        """Return the lines to send for ``data``, which :meth:`complete` agreed to; ``b""`` for none.

        Cut where a line to send begins (see :meth:`shares`), ``data`` gives the same lines in pieces.
        """

    def shares(self, data: bytes) -> Sequence[int]:
        """Return how many bytes of ``data`` each line that :meth:`apply` returns stands for: all of them."""

    def part_end(self, data: bytes) -> int:
        """Return where to cut ``data``, a piece of a line that is too long; more than 0."""


class WholeLines:
    """The rules when no option is set: lines end in a newline and are sent as they are."""

    def complete(self, data: bytes) -> int:
        """Return the length up to and with the last newline."""
        return data.rfind(b"\n") + 1

    def apply(self, data: bytes) -> bytes:
        """Return ``data`` itself."""
        return data

    def shares(self, data: bytes) -> Sequence[int]:
        """Return the length of each line."""
        return line_bytes(data)

    def part_end(self, data: bytes) -> int:
        """Return the end of ``data``, or the place before a character that is not all there."""
        return part_end(data)
