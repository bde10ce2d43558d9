"""Task logs as segments under the very prefix that Airflow's S3 reader lists: the UI shows them at once.

Airflow uploads a task's log when the task has ended; of a worker that was killed nothing is ever uploaded.
``S3RemoteLogIO.read`` (amazon provider 9.39) lists ``<remote base>/<path of the log>`` as a *prefix*, sorts
the keys and reads all of them. So ``…/attempt=1.log.from-00000000000000004096`` is part of that log.

This is beside the delivery, not a part of it: a segment that cannot be written is tried again while there
is room, then left out and counted; Firehose has the lines all the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from log_forwarder.inputs.base import Chunk, Origin
from sidecar.errors import SidecarError

_SEGMENT_BYTES = 1024 * 1024
_MOST_HELD_BYTES = 16 * 1024 * 1024
_PAUSE_SECONDS = 0.5
_MOST_REMEMBERED = 10_000
_JOIN_SECONDS = 5.0


class Store(Protocol):
    """Where objects go."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object; raises SidecarError when it was not written, or that is not known."""


class Listener(Protocol):
    """Who is told what became of segments."""

    def segment_written(self, *, written_bytes: int) -> None:
        """A segment is there to be read."""

    def segment_failed(self, error: SidecarError) -> None:
        """A segment could not be written; it is tried again."""

    def segment_left_out(self, *, left_out_bytes: int) -> None:
        """There was no room to wait; the UI will not show these bytes before Airflow's upload."""


@dataclass(slots=True)
class _Filling:
    """A segment that still grows."""

    start: int
    end: int
    since: float
    parts: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class UiSegments:
    """Takes chunks from the reading thread; a thread of its own writes them.

    Args:
        store: ``remote_base_log_folder`` of Airflow.
        base_log_folder: ``base_log_folder`` of Airflow: what of a path is not part of the key.
        every_seconds: how long lines wait for more before they are written.
        monotonic: the time, in seconds.
        now: the date; parts of one log that two workers wrote are shown in its order.
        listener: who is told.
    """

    def __init__(
        self,
        store: Store,
        *,
        base_log_folder: str,
        every_seconds: float,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        listener: Listener,
    ) -> None:
        self._store = store
        self._base = f"{base_log_folder.rstrip('/')}/"
        self._every_seconds = every_seconds
        self._monotonic = monotonic
        self._now = now
        self._first_seen: OrderedDict[str, int] = OrderedDict()
        self._listener = listener
        self._changed = threading.Condition()
        self._filling: OrderedDict[Origin, _Filling] = OrderedDict()
        self._full: list[tuple[str, bytes]] = []
        self._held_bytes = 0
        self._is_closed = False
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="ui segments", daemon=True)
        self._thread.start()

    def add(self, chunk: Chunk) -> None:
        """Take what was read of a task's log; never waits."""
        if chunk.origin.kind != "airflow_task" or not chunk.origin.path.startswith(self._base):
            return
        with self._changed:
            if self._held_bytes + len(chunk.data) > _MOST_HELD_BYTES:
                self._listener.segment_left_out(left_out_bytes=len(chunk.data))
                return
            filling = self._filling.get(chunk.origin)
            if filling is not None and (
                filling.end != chunk.start or filling.size_bytes + len(chunk.data) > _SEGMENT_BYTES
            ):
                self._seal(chunk.origin)
                filling = None
            if filling is None:
                filling = self._filling[chunk.origin] = _Filling(chunk.start, chunk.end, self._monotonic())
            filling.parts.append(chunk.data)
            filling.size_bytes += len(chunk.data)
            filling.end = chunk.end
            self._held_bytes += len(chunk.data)
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is there, as far as it can be written now. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(_JOIN_SECONDS)

    def _seal(self, origin: Origin) -> None:
        filling = self._filling.pop(origin)
        name = f"{self._first_seen_milliseconds(origin.source):014d}-{origin.source}-{filling.start:020d}"
        key = f"{origin.path.removeprefix(self._base)}.from-{name}"
        self._full.append((key, b"".join(filling.parts)))

    def _first_seen_milliseconds(self, source: str) -> int:
        """Return when this process first saw a source; later once it was forgotten, never earlier."""
        seen = self._first_seen.setdefault(source, int(self._now().timestamp() * 1000))
        self._first_seen.move_to_end(source)
        if len(self._first_seen) > _MOST_REMEMBERED:
            self._first_seen.popitem(last=False)
        return seen

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._full and not self._is_closed:
                    self._changed.wait(_PAUSE_SECONDS)
                self._seal_what_is_due()
                if not self._full and self._is_closed:
                    return
                segments, self._full = self._full, []
            failed = [segment for segment in segments if not self._write(*segment)]
            with self._changed:
                if failed and self._is_closed:
                    return
                self._full[:0] = failed
                if failed:
                    self._changed.wait_for(lambda: self._is_closed, _PAUSE_SECONDS)

    def _seal_what_is_due(self) -> None:
        before = self._monotonic() - (0 if self._is_closed else self._every_seconds)
        for origin, filling in list(self._filling.items()):
            if filling.since > before:
                break  # they are in the order of their age
            self._seal(origin)

    def _write(self, key: str, data: bytes) -> bool:
        try:
            self._store.put(key, data)
        except SidecarError as err:
            if not self._has_failed:
                self._listener.segment_failed(err)
            self._has_failed = True
            return False
        self._has_failed = False
        with self._changed:
            self._held_bytes -= len(data)
        self._listener.segment_written(written_bytes=len(data))
        return True
