"""What was pushed to us, out of the spool: the input that Forward, Docker and stdin share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from log_forwarder.inputs.base import Chunk, Kind, LineRules, Origin, Range
from log_forwarder.ruled import ruled
from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.payloads import Line, Lines, Place
from log_forwarder.spool.places import Places
from log_forwarder.spool.records import Entry
from log_forwarder.spool.spool import Spool
from log_forwarder.spool.streams import Stream
from sidecar.errors import Transient

EVENT_WAIT_SECONDS = 0.5  # a traceback is written at once; what follows later is another event
_READ_BYTES = 1024 * 1024
_PAUSE_SECONDS = 0.5
_MOST_WAITING_BYTES = 32 * 1024 * 1024  # while a planned range is looked for
_MOST_STREAMS = 4096


class Feeder(Protocol):
    """What fills the spool: a listener, a follower of containers, a reader of stdin. With own threads."""

    def begin_to_finish(self) -> None:
        """Take what is there and come to an end."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will be added to the spool."""

    def close(self) -> None:
        """End the threads, let go of sockets. Idempotent."""


class Listener(Protocol):
    """Who is told what is out of the ordinary."""

    def spool_damaged(self, *, lost_bytes: int) -> None:
        """Bytes of the spool cannot be read any more."""


class PushedInput:
    """Reads the spool (see :class:`~log_forwarder.inputs.base.Input`).

    Args:
        spool: what was pushed.
        places: how far it was accepted.
        feeders: what fills the spool.
        rules: what is done to lines, by kind of stream.
        limit_bytes: the longest chunk.
        monotonic: the time, in seconds.
        listener: who is told.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        places: Places,
        feeders: Sequence[Feeder],
        rules: Callable[[Kind], LineRules],
        limit_bytes: int,
        monotonic: Callable[[], float],
        listener: Listener,
    ) -> None:
        self._spool = spool
        self._places = places
        self._feeders = feeders
        self._rules = rules
        self._limit_bytes = limit_bytes
        self._monotonic = monotonic
        self._listener = listener
        self._lines = Lines()
        self._position = spool.start
        self._streams: dict[StreamKey, Stream] = {}
        self._waiting: dict[Stream, None] = {}
        self._is_finishing = False
        for known in places.load():
            self._follow(known.key, known.source, known.offset, known.place)

    @property
    def descriptors(self) -> Sequence[int]:
        """None: feeders wake the reader."""
        return ()

    def look(self) -> None:
        """Let go of what was accepted meanwhile."""
        self._places.release(self._spool, read_to=self._read_to)

    def apply(self, chunk: Chunk) -> Chunk:
        """Return a chunk with the lines to send (see the protocol)."""
        return ruled(chunk, self._rules(chunk.origin.kind))

    def unread_since(self) -> dict[Kind, float]:
        """Return since when the oldest line waits here, by kind."""
        since: dict[Kind, float] = {}
        for stream in list(self._waiting):
            kind = stream.origin.kind
            since[kind] = min(stream.waits_since, since.get(kind, stream.waits_since))
        return since

    def chunks(self) -> Iterator[Chunk]:
        """Hand out what can be read now (see the protocol)."""
        yield from self._ready()
        while self._read_on():
            yield from self._ready()
        yield from self._ready(is_pause=True)

    def again(self, wanted: Range) -> Chunk | None:
        """Hand out exactly this range (see the protocol)."""
        while True:
            stream = next((s for s in self._streams.values() if s.origin.source == wanted.source), None)
            if stream is not None and stream.offset + stream.waiting_bytes >= wanted.end:
                return stream.take_exactly(wanted)
            if sum(s.waiting_bytes for s in self._waiting) > _MOST_WAITING_BYTES or not self._read_on():
                return None

    def due_seconds(self) -> float:
        """Return when to ask again: soon while lines or parts wait for what follows."""
        return _PAUSE_SECONDS if self._waiting or self._lines.holds_parts or self._is_finishing else 1.0

    def begin_to_finish(self) -> None:
        """Let the feeders come to their end."""
        self._is_finishing = True
        for feeder in self._feeders:
            feeder.begin_to_finish()

    @property
    def is_finished(self) -> bool:
        """Whether the feeders ended and all that they spooled was handed out."""
        return (
            all(feeder.is_finished for feeder in self._feeders)
            and self._position >= self._spool.end
            and not self._waiting
            and not self._lines.holds_parts
        )

    def lag_bytes(self) -> int:
        """Return how much of the spool is not accepted yet."""
        return self._spool.end - max(self._places.needed_from(self._read_to), self._spool.start)

    def close(self) -> None:
        """End the feeders and let go of the spool."""
        for feeder in self._feeders:
            feeder.close()
        self._spool.close()

    # ------------------------------------------------------------ spool -> streams

    @property
    def _read_to(self) -> int:
        """The position before which nothing waits in memory to become a line."""
        held_from = self._lines.held_from
        return self._position if held_from is None else min(self._position, held_from)

    def _read_on(self) -> bool:
        """Read the next records; return whether there were any."""
        entries = self._spool.read(self._position, most_bytes=_READ_BYTES, on_damage=self._note_damage)
        for entry in entries:
            self._add(self._lines_of(entry))
        if entries:
            self._position = entries[-1].end
        return bool(entries)

    def _lines_of(self, entry: Entry) -> Iterable[Line]:
        return self._lines.of(entry, self._monotonic())

    def _add(self, lines: Iterable[Line]) -> None:
        now = self._monotonic()
        limit_bytes = self._limit_bytes
        touched: dict[Stream, Place] = {}
        key: StreamKey | None = None
        stream: Stream | None = None
        for line in lines:
            if stream is None or line[0] is not key:
                key = line[0]
                stream = self._streams.get(key) or self._begin(key, line[2])
            if line[3] > stream.resume_at:
                if stream not in touched:
                    touched[stream] = line[2]
                stream.add(line, limit_bytes=limit_bytes, now=now)
        for stream, begin in touched.items():
            self._waiting[stream] = None
            self._places.read(stream.origin, begin, stream.read_to)

    def _begin(self, key: StreamKey, first: Place) -> Stream:
        if len(self._streams) >= _MOST_STREAMS:
            self._forget_old()
        return self._follow(key, self._places.source_id(key, first), 0, (first[0], first[1], 0))

    def _follow(self, key: StreamKey, source: str, offset: int, place: Place) -> Stream:
        origin = Origin(
            source=source, path=key.path, kind=key.kind, keeper=self._places, about=dict(key.about)
        )
        stream = Stream(origin, offset, resume_at=place, read_to=place)
        self._streams[key] = stream
        self._places.follow(origin, key, place)
        return stream

    def _forget_old(self) -> None:
        """Forget streams that can never be read again: their records are accepted and deleted."""
        for key, stream in list(self._streams.items()):
            if stream.read_to[0] < self._spool.start and self._places.is_accepted(stream.origin):
                with contextlib.suppress(Transient):
                    self._places.forget(stream.origin)
                    del self._streams[key]

    # ------------------------------------------------------------ streams -> chunks

    def _ready(self, *, is_pause: bool = False) -> Iterator[Chunk]:
        """Yield what can be handed on; after a pause also what waited long enough for its end."""
        now = self._monotonic()
        if is_pause:
            late = self._is_finishing and all(feeder.is_finished for feeder in self._feeders)
            self._add(self._lines.give_up_waiting() if late else self._lines.expired(now))
        for stream in list(self._waiting):
            is_last = is_pause and (self._is_finishing or now - stream.grew_at >= EVENT_WAIT_SECONDS)
            rules = self._rules(stream.origin.kind)
            while chunk := stream.take(rules, limit_bytes=self._limit_bytes, is_last=is_last):
                yield chunk
            if not stream.waiting_bytes:
                self._waiting.pop(stream, None)

    def _note_damage(self, lost_bytes: int) -> None:
        self._listener.spool_damaged(lost_bytes=lost_bytes)
