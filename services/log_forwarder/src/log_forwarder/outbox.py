"""Sealed records on their way from the reading thread to the sending one. Bounded; order is kept."""

from __future__ import annotations

import threading
from collections import deque

from log_forwarder.batching import Record, fill_call

# Two calls of three full records: one being sent, one ready. Measured need, not a tuning knob: the
# files hold the rest.
_MAX_BYTES = 6 * 1024 * 1024


class Outbox:
    """A queue of records that tells the reader when to pause.

    Any thread. ``wake`` is set whenever there is room again or the last record left.
    """

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._records: deque[Record] = deque()
        self._held_bytes = 0
        self._is_closed = False

    @property
    def has_room(self) -> bool:
        """Whether the reader may seal another record."""
        return self._held_bytes < _MAX_BYTES

    @property
    def is_idle(self) -> bool:
        """Whether a record that is put now is the next to be sent.

        While it is not, sealing a record before it is full would only cost money.
        """
        return not self._records

    def put(self, record: Record) -> None:
        """Add a record; never waits, the reader asks for room first."""
        with self._changed:
            self._records.append(record)
            self._held_bytes += len(record.data)
            self._changed.notify()

    def take(self) -> list[Record]:
        """Wait for records and return those of the next call; empty once closed and empty.

        They count as held until :meth:`accepted`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._records or self._is_closed)
            count = fill_call(list(self._records))
            return [self._records.popleft() for _ in range(count)]

    def accepted(self, record: Record) -> None:
        """Let go of a record that Firehose accepted."""
        with self._changed:
            self._held_bytes -= len(record.data)
        self._wake.set()

    def close(self) -> None:
        """Say that nothing more will be put."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
