"""The way round Firehose: records straight to S3, while Firehose cannot take them.

The objects hold the very bytes that Firehose would have written, under the record's id, so a record that
went both ways can be told by it. Taken when an outage is long, when a spool is nearly full, and when the
time to stop is nearly over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from log_forwarder.batching import Record
from log_forwarder.firehose import Outcome
from sidecar.errors import SidecarError

_PROBE_SECONDS = 30.0


class Store(Protocol):
    """Where objects are put."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object; raises a SidecarError when it was not written."""


class Overflow:
    """Decides when to go round, and does. Any thread.

    Args:
        store: where records go; None when no bucket was given: then this way is never taken.
        suffix: of the objects' names.
        after_seconds: how long nothing may be accepted before this way is taken.
        monotonic: the time, in seconds.
        now: the time of day, for the objects' names.
        is_pressed: whether a spool is above its high watermark.
    """

    def __init__(
        self,
        *,
        store: Store | None,
        suffix: str,
        after_seconds: float,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        is_pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._suffix = suffix
        self._after_seconds = after_seconds
        self._monotonic = monotonic
        self._now = now
        self._is_pressed = is_pressed
        self._at_once_from: float | None = None
        self._next_probe = 0.0

    def at_once_from(self, moment: float) -> None:
        """From this moment on (monotonic seconds) everything goes this way: the process must end soon."""
        self._at_once_from = moment

    def is_due(self, failing_since: float | None) -> bool:
        """Say whether the next call should go this way; now and then Firehose is asked all the same."""
        if self._store is None:
            return False
        now = self._monotonic()
        if self._at_once_from is not None and now >= self._at_once_from:
            return True
        if failing_since is None:
            self._next_probe = now + _PROBE_SECONDS
            return False
        if now - failing_since < self._after_seconds and not self._is_pressed():
            self._next_probe = now + _PROBE_SECONDS
            return False
        if now >= self._next_probe:
            self._next_probe = now + _PROBE_SECONDS
            return False
        return True

    def put(self, records: Sequence[Record]) -> Outcome:
        """Write each record as an object of its own."""
        accepted: list[Record] = []
        given = tuple(records)
        for record in given:
            try:
                self._write(record)
            except SidecarError as err:
                return Outcome(accepted=tuple(accepted), failed=given[len(accepted) :], error=err)
            accepted.append(record)
        return Outcome(accepted=given, failed=(), error=None)

    def _write(self, record: Record) -> None:
        if self._store is not None:
            self._store.put(f"{self._now():%Y/%m/%d/%H}/{record.id}{self._suffix}", record.data)
