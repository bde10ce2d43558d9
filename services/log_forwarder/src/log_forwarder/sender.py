"""The sending thread: each record until Firehose accepts it, in order, for ever.

Nothing is sent past a record that failed, so the lines of a file arrive in their order. Nothing is
dropped: while Firehose refuses, the outbox fills, reading stops, and the files keep the lines.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from log_forwarder.batching import Record
from log_forwarder.checkpoints import Checkpoints
from log_forwarder.firehose import Outcome
from log_forwarder.outbox import Outbox
from sidecar.errors import ConfigError, SidecarError
from sidecar.loop import backoff_seconds

_BACKOFF_BASE_SECONDS = 0.2
_BACKOFF_CAP_SECONDS = 20.0
_HURRIED_CAP_SECONDS = 1.0  # while the process is asked to finish, a long pause would be the rest of it


class Deliver(Protocol):
    """Where records go."""

    def put(self, records: Sequence[Record]) -> Outcome:
        """Send them in one call and say what became of each; never raises for the other side's faults."""


class Listener(Protocol):
    """Who is told what became of each call."""

    def put(self, outcome: Outcome) -> None:
        """A call ended, whatever came of it."""


class Sender:
    """Sends what the outbox holds until it is closed and empty.

    Attributes:
        trouble: why records are held back now; None while all goes well.
        deliveries: calls in which something was accepted.
        refused: the configuration is wrong and nothing was ever accepted; the thread has ended.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        firehose: Deliver,
        checkpoints: Checkpoints,
        listener: Listener,
        rng: random.Random,
        on_change: Callable[[], None],
        longest_pause_seconds: float = _BACKOFF_CAP_SECONDS,
    ) -> None:
        self.trouble: SidecarError | None = None
        self.refused: ConfigError | None = None
        self.deliveries = 0
        self._outbox = outbox
        self._firehose = firehose
        self._checkpoints = checkpoints
        self._listener = listener
        self._rng = rng
        self._on_change = on_change
        self._longest_pause_seconds = longest_pause_seconds
        self._hurry = threading.Event()
        self._abandon = threading.Event()

    def run(self) -> None:
        """Send until the outbox is closed and empty, or :meth:`abandon`."""
        while (records := self._outbox.take()) and self._send(tuple(records)):
            pass

    def hurry(self) -> None:
        """End a pause now and make the next ones short."""
        self._hurry.set()

    def abandon(self) -> None:
        """Stop after the call in flight. What was not accepted stays in the files."""
        self._abandon.set()
        self._hurry.set()

    def _send(self, records: tuple[Record, ...]) -> bool:
        """Send until each of ``records`` is accepted; return False when told to give up."""
        failures = 0
        while records:
            if self._abandon.is_set():
                return False
            outcome = self._firehose.put(records)
            if outcome.accepted:
                self._checkpoints.acknowledge(outcome.accepted)
                self.deliveries += 1
                for record in outcome.accepted:
                    self._outbox.accepted(record)
            self._listener.put(outcome)
            failures = failures + 1 if outcome.error else 0
            self._take_note(outcome.error)
            if isinstance(outcome.error, ConfigError) and not self.deliveries:
                self.refused = outcome.error
                self._on_change()
                return False
            if outcome.failed:
                self._pause(failures)
            records = outcome.failed
        return True

    def _take_note(self, error: SidecarError | None) -> None:
        is_news = (self.trouble is None) != (error is None)
        self.trouble = error
        if is_news:
            self._on_change()

    def _pause(self, failures: int) -> None:
        cap_seconds = _HURRIED_CAP_SECONDS if self._hurry.is_set() else self._longest_pause_seconds
        seconds = backoff_seconds(
            failures, base_seconds=_BACKOFF_BASE_SECONDS, cap_seconds=cap_seconds, rng=self._rng
        )
        (self._abandon if self._hurry.is_set() else self._hurry).wait(seconds)
