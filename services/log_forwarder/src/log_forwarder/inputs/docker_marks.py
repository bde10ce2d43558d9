"""How far each container's log was taken into the spool, on disk."""

from __future__ import annotations

import json
import threading
from collections import defaultdict

from log_forwarder.inputs.docker_log import Mark, Name
from log_forwarder.spool.payloads import mark_of
from log_forwarder.spool.spool import Spool
from log_forwarder.state import State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (
    id      TEXT NOT NULL,
    stream  TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    PRIMARY KEY (id, stream)
)
"""
_READ_BYTES = 4 * 1024 * 1024


class DockerMarks:
    """Marks of all containers. Any thread.

    A mark travels with its lines in the spool, so lines and mark are written in one go; it is in the
    database as well, for when the spool record is accepted and deleted.
    """

    def __init__(self, state: State, spool: Spool) -> None:
        self._state = state
        self._mutex = threading.Lock()
        self._marks: dict[str, dict[Name, Mark]] = defaultdict(dict)
        with state.writing() as db:
            db.execute(_SCHEMA)
        for container, stream, time_ns, seen in state.read(
            "SELECT id, stream, time_ns, seen FROM containers"
        ):
            self._marks[container][stream] = Mark(time_ns, seen)
        self._read_spool(spool)

    def of(self, container: str) -> dict[Name, Mark]:
        """Return how far the streams of a container were taken; those that were never seen are missing."""
        with self._mutex:
            return dict(self._marks[container])

    def keep(self, container: str, stream: Name, mark: Mark) -> None:
        """Write down how far a stream was taken, after its lines were spooled.

        Raises:
            Transient: it cannot be written down now; what is in the spool says it too.
        """
        with self._mutex:
            self._marks[container][stream] = mark
        with self._state.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO containers (id, stream, time_ns, seen) VALUES (?, ?, ?, ?)",
                (container, stream, *mark),
            )

    def forget(self, container: str) -> None:
        """Forget a container that was removed."""
        with self._mutex:
            self._marks.pop(container, None)
        with self._state.writing() as db:
            db.execute("DELETE FROM containers WHERE id = ?", (container,))

    def _read_spool(self, spool: Spool) -> None:
        """Take the marks of records that a killed process spooled last."""
        position = spool.start
        while entries := spool.read(position, most_bytes=_READ_BYTES, on_damage=lambda _lost: None):
            position = entries[-1].end
            for entry in entries:
                found = mark_of(entry.payload)
                if found is not None and found[0].kind == "docker":
                    self._take(*found[0].about, spelled=found[1])

    def _take(self, *about: tuple[str, str], spelled: str) -> None:
        names = dict(about)
        mark = Mark(*json.loads(spelled))
        for stream in _STREAMS:
            if names["output"] == stream:
                known = self._marks[names["container_id"]]
                known[stream] = max(known.get(stream, mark), mark)


_STREAMS: tuple[Name, ...] = ("stdout", "stderr")


def spell(mark: Mark) -> str:
    """Return a mark as it travels in the spool."""
    return json.dumps(mark)
