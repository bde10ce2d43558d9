"""The sending threads' work: each record until it is accepted, for ever; then its place is written down.

What may pass (throttling, 5xx, timeouts) is tried again, slower. What a person must mend (credentials, a
key, the stream) is held and probed. What Firehose refuses for itself is found by halving, kept as a dead
letter, and passed over.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

from log_forwarder.batching import Record
from log_forwarder.dead_letters import DeadLetters
from log_forwarder.firehose import Outcome
from log_forwarder.inputs.base import Span
from log_forwarder.ledger import Ledger
from log_forwarder.outbox import Outbox
from log_forwarder.overflow import Overflow
from log_forwarder.plans import Plans
from sidecar.errors import ConfigError, Permanent, SidecarError, Transient

_DISK_PAUSE_SECONDS = 1.0
_REFUSALS = 5  # of one record, each for itself, until it is set aside
_MOST_LETTERS_IN_A_ROW = 3  # beyond that it is not the records: everything is refused, and everything is held


class Deliver(Protocol):
    """Where records go."""

    def put(self, records: Sequence[Record]) -> Outcome:
        """Send them in one call and say what became of each; never raises for the other side's faults."""


class Listener(Protocol):
    """Who is told what became of each call."""

    def put(self, outcome: Outcome, *, seconds: float) -> None:
        """A call of PutRecordBatch ended, whatever came of it."""

    def overflowed(self, outcome: Outcome) -> None:
        """Records were written straight to S3, or could not be."""

    def dead_letter(self, record: Record, path: Path, why: SidecarError) -> None:
        """A record that Firehose refuses was set aside."""

    def state_unwritable(self, error: SidecarError) -> None:
        """An accepted record's place could not be written down; sending waits for it."""


class Sender:
    """Sends what the outbox hands out. :meth:`run` is the body of each sending thread.

    Attributes:
        trouble: why records are held back now; None while all goes well.
        deliveries: calls in which something was accepted.
        refused: the configuration is wrong and nothing was ever accepted; the threads have ended.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        firehose: Deliver,
        overflow: Overflow,
        dead_letters: DeadLetters,
        ledger: Ledger,
        plans: Plans,
        listener: Listener,
        monotonic: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self.trouble: SidecarError | None = None
        self.refused: ConfigError | None = None
        self.deliveries = 0
        self._outbox = outbox
        self._firehose = firehose
        self._overflow = overflow
        self._dead_letters = dead_letters
        self._ledger = ledger
        self._plans = plans
        self._listener = listener
        self._monotonic = monotonic
        self._on_change = on_change
        self._mutex = threading.Lock()
        self._letters_in_a_row = 0
        self._refusals: Counter[int] = Counter()
        self._abandon = threading.Event()

    def hand_on(self, record: Record) -> None:
        """Take a record from the reading thread: plan it, then let it be sent.

        Raises:
            Transient: its plan cannot be written down now; nothing was taken.
        """
        self._plans.add(record)
        with self._mutex:
            self._ledger.hand_on(record.spans)
        self._outbox.put(record)

    def run(self) -> None:
        """Send until the outbox has no more to give."""
        while (call := self._outbox.take()) is not None:
            done: Sequence[Record] = ()
            try:
                done = self._send(call)
            finally:
                self._outbox.settle(call, done=done)

    def abandon(self) -> None:
        """Stop after the calls in flight. What was not accepted stays where it is."""
        self._abandon.set()
        self._outbox.abandon()

    def _send(self, call: Sequence[Record]) -> Sequence[Record]:
        """Make one call; return the records that are settled."""
        if self._overflow.is_due(self._outbox.failing_since):
            outcome = self._overflow.put(call)
            self._listener.overflowed(outcome)
            if outcome.error is None:
                self._outbox.went_round()
            else:
                self._outbox.failed()
            self._acknowledge(outcome.accepted)
            return outcome.accepted
        began = self._monotonic()
        outcome = self._firehose.put(call)
        self._listener.put(outcome, seconds=self._monotonic() - began)
        self._acknowledge(outcome.accepted)
        settled = [*outcome.accepted, *self._judge(outcome)]
        self._take_note(outcome)
        return settled

    def _judge(self, outcome: Outcome) -> Sequence[Record]:
        """Decide what follows from a failure; return the records that were set aside."""
        if outcome.accepted:
            self._letters_in_a_row = 0
        if outcome.error is None:
            self._outbox.succeeded()
        elif outcome.accepted or (outcome.refused and self._letters_in_a_row < _MOST_LETTERS_IN_A_ROW):
            self._outbox.was_partial()
            return self._count_refusals(outcome)
        elif not isinstance(outcome.error, Permanent):
            self._outbox.failed()
        elif len(outcome.failed) > 1:
            self._outbox.suspect(outcome.failed)
        elif self._letters_in_a_row < _MOST_LETTERS_IN_A_ROW:
            return self._set_aside(outcome.failed[0], outcome.error)
        else:
            self._outbox.failed()
        return ()

    def _count_refusals(self, outcome: Outcome) -> Sequence[Record]:
        """Set aside what is refused for itself again and again; throttled records are not in that count."""
        for record in outcome.accepted:
            self._refusals.pop(record.number, None)
        settled: list[Record] = []
        for record in outcome.refused:
            self._refusals[record.number] += 1
            is_over = self._refusals[record.number] >= _REFUSALS
            if is_over and outcome.error and self._letters_in_a_row < _MOST_LETTERS_IN_A_ROW:
                done = self._set_aside(record, outcome.error)
                if done:
                    del self._refusals[record.number]
                settled += done
        return settled

    def _set_aside(self, record: Record, why: SidecarError) -> Sequence[Record]:
        try:
            path = self._dead_letters.keep(record, why)
        except SidecarError as err:
            self._listener.state_unwritable(err)
            self._outbox.failed()
            return ()
        self._letters_in_a_row += 1
        self._listener.dead_letter(record, path, why)
        self._acknowledge([record])
        return (record,)

    def _acknowledge(self, records: Sequence[Record]) -> None:
        """Write down how far each origin was accepted; wait for the disk as long as that takes.

        Going on without would send again, after a restart, everything since.
        """
        if not records:
            return
        with self._mutex:
            advanced = self._ledger.acknowledge(span for record in records for span in record.spans)
        while not self._abandon.is_set():
            try:
                _keep(advanced)
                self._plans.done(records)
            except Transient as err:
                self._listener.state_unwritable(err)
                self._abandon.wait(_DISK_PAUSE_SECONDS)
            else:
                return

    def _take_note(self, outcome: Outcome) -> None:
        error = outcome.error
        if outcome.accepted:
            self.deliveries += 1
        if isinstance(error, ConfigError) and not self.deliveries:
            self.refused = error
            self.abandon()
        is_news = (self.trouble is None) != (error is None) or self.refused is not None
        self.trouble = error
        if is_news:
            self._on_change()


def _keep(spans: Sequence[Span]) -> None:
    keepers = sorted(spans, key=lambda span: id(span.origin.keeper))
    for _, group in groupby(keepers, key=lambda span: id(span.origin.keeper)):
        own = list(group)
        own[0].origin.keeper.keep(own)
