"""How far each pushed stream was accepted, on disk; and what of the spool nobody needs any more."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from log_forwarder.inputs.base import Origin, Span
from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.payloads import Place
from log_forwarder.spool.spool import Spool
from log_forwarder.state import State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pushed (
    source     TEXT PRIMARY KEY,
    stream     TEXT NOT NULL,
    offset     INTEGER NOT NULL,
    record     INTEGER NOT NULL,
    message    INTEGER NOT NULL,
    done_bytes INTEGER NOT NULL
)
"""
_SELECT = "SELECT source, stream, offset, record, message, done_bytes FROM pushed"
_UPSERT = """
INSERT OR REPLACE INTO pushed (source, stream, offset, record, message, done_bytes) VALUES (?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """How far a stream was accepted.

    Attributes:
        source: its id.
        key: which stream.
        offset: the offset before which everything was accepted.
        place: where to go on in the spool.
    """

    source: str
    key: StreamKey
    offset: int
    place: Place


class Places:
    """The keeper of every pushed stream (see :class:`~log_forwarder.inputs.base.Keeper`).

    Any thread. The reading thread says what it hands on, the senders what was accepted.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        with state.writing() as db:
            db.execute(_SCHEMA)
        self._mutex = threading.Lock()
        self._keys: dict[Origin, StreamKey] = {}
        self._accepted: dict[Origin, Place] = {}
        self._handed_on: dict[Origin, Place] = {}
        self._waits_from: dict[Origin, int] = {}

    def load(self) -> list[Accepted]:
        """Return the streams of earlier processes."""
        rows = self._state.read(_SELECT)
        found = []
        for source, stream, offset, *place in rows:
            kind, path, about = json.loads(stream)
            key = StreamKey(kind, path, tuple((name, value) for name, value in about))
            record, message, done_bytes = place
            found.append(Accepted(source=source, key=key, offset=offset, place=(record, message, done_bytes)))
        return found

    def first_free_position(self) -> int:
        """Return a position that no stream was accepted up to: where a spool begins whose files are gone."""
        ((record,),) = self._state.read("SELECT coalesce(max(record) + 1, 0) FROM pushed")
        return int(record)

    def source_id(self, key: StreamKey, first: Place) -> str:
        """Return the id of a stream whose first line is at ``first``; the same when it is read again."""
        text = json.dumps([self._state.instance, key, first])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def follow(self, origin: Origin, key: StreamKey, accepted: Place) -> None:
        """Begin to keep a stream."""
        with self._mutex:
            self._keys[origin] = key
            self._accepted[origin] = self._handed_on[origin] = accepted

    def forget(self, origin: Origin) -> None:
        """Let go of a stream that is accepted and whose records are deleted."""
        with self._mutex:
            self._keys.pop(origin, None)
            self._accepted.pop(origin, None)
            self._handed_on.pop(origin, None)
            self._waits_from.pop(origin, None)
        with self._state.writing() as db:
            db.execute("DELETE FROM pushed WHERE source = ?", (origin.source,))

    def is_accepted(self, origin: Origin) -> bool:
        """Whether everything of a stream that was read is accepted."""
        with self._mutex:
            return origin not in self._waits_from

    def read(self, origin: Origin, begin: Place, end: Place) -> None:
        """A line was read from the spool and waits to be accepted."""
        with self._mutex:
            self._waits_from.setdefault(origin, begin[0])
            self._handed_on[origin] = end

    def keep(self, spans: Sequence[Span]) -> None:
        """Write down the ends of these spans; durable when this returns."""
        places = [(span, span.position) for span in spans if isinstance(span.position, tuple)]
        rows = [
            (span.origin.source, json.dumps(self._keys[span.origin]), span.end, *place)
            for span, place in places
            if span.origin in self._keys
        ]
        with self._state.writing() as db:
            db.executemany(_UPSERT, rows)
        with self._mutex:
            for span, (record, message, done_bytes) in places:
                place = (record, message, done_bytes)
                self._accepted[span.origin] = place
                if place >= self._handed_on.get(span.origin, place):
                    self._waits_from.pop(span.origin, None)
                elif span.origin in self._waits_from:
                    self._waits_from[span.origin] = record

    def needed_from(self, read_to: int) -> int:
        """Return the position before which no record is needed any more.

        Args:
            read_to: how far the spool was read.
        """
        with self._mutex:
            return min([read_to, *self._waits_from.values()])

    def release(self, spool: Spool, *, read_to: int) -> None:
        """Let the spool delete what nobody needs any more."""
        spool.release(self.needed_from(read_to))
