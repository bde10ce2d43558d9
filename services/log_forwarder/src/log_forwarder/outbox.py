"""Sealed records between the reading thread and the sending ones. Bounded; order is kept per origin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from log_forwarder.batching import Record, fill_call
from log_forwarder.governor import Governor
from log_forwarder.inputs.base import Origin

_LONGEST_WAIT_SECONDS = 1.0  # the clock may be a test's: nobody sleeps through its changes


class Outbox:
    """What waits to be sent, and who may send it when.

    Any thread.

    Args:
        governor: how many calls at a time, and when.
        most_bytes: the reader is asked to pause above this.
        monotonic: the time, in seconds.
        wake: called whenever there is room again.
    """

    def __init__(
        self,
        *,
        governor: Governor,
        most_bytes: int,
        monotonic: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._governor = governor
        self._most_bytes = most_bytes
        self._monotonic = monotonic
        self._wake = wake
        self._changed = threading.Condition()
        self._records: list[Record] = []
        self._held_bytes = 0
        self._in_flight: set[Origin] = set()
        self._calls: list[Sequence[Record]] = []
        self._company: dict[int, int] = {}
        self._is_closed = False
        self._is_abandoned = False

    @property
    def has_room(self) -> bool:
        """Whether the reader may seal another record."""
        return self._held_bytes < self._most_bytes

    @property
    def is_idle(self) -> bool:
        """Whether a record that is put now is the next to be sent.

        While it is not, sealing a record before it is full would only cost money.
        """
        return not self._records

    @property
    def is_empty(self) -> bool:
        """Whether everything that was put is settled."""
        return not self._held_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of records that wait or are in flight."""
        return self._held_bytes

    @property
    def calls_in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._calls)

    @property
    def failing_since(self) -> float | None:
        """Since when nothing is accepted (monotonic seconds); None while all goes well."""
        return self._governor.failing_since

    def held_since(self) -> dict[str, float]:
        """Return since when the oldest byte of each kind of origin waits here."""
        since: dict[str, float] = {}
        with self._changed:
            for record in [*self._records, *(record for call in self._calls for record in call)]:
                for span in record.spans:
                    kind = span.origin.kind
                    since[kind] = min(span.read_at, since.get(kind, span.read_at))
        return since

    def put(self, record: Record) -> None:
        """Add a record; never waits, the reader asks for room first."""
        with self._changed:
            self._records.append(record)
            self._held_bytes += len(record.data)
            self._changed.notify_all()

    def take(self) -> list[Record] | None:
        """Wait until a call may begin and return its records; None once there will be no more."""
        with self._changed:
            while not self._is_abandoned:
                call = self._choose() if self._records else []
                wait_seconds = self._governor.wait_seconds(self._monotonic(), in_flight=len(self._calls))
                if call and not wait_seconds:
                    self._begin(call)
                    return call
                if self._is_closed and not self._held_bytes:
                    return None
                self._changed.wait(
                    min(wait_seconds, _LONGEST_WAIT_SECONDS) if call else _LONGEST_WAIT_SECONDS
                )
            return None

    def settle(self, call: Sequence[Record], *, done: Collection[Record]) -> None:
        """A call ended: let go of the records that need not be sent again, keep the others in their place."""
        with self._changed:
            self._calls.remove(call)
            finished = {record.number for record in done}
            for record in call:
                self._in_flight -= record.origins
                if record.number in finished:
                    self._held_bytes -= len(record.data)
                    self._company.pop(record.number, None)
            again = [record for record in call if record.number not in finished]
            if again:
                self._records = sorted([*self._records, *again], key=_number)
            self._changed.notify_all()
        self._wake()

    def suspect(self, call: Sequence[Record]) -> None:
        """One of these is refused for itself: from now on they go in calls of half as many."""
        with self._changed:
            for record in call:
                self._company[record.number] = max(1, len(call) // 2)

    def succeeded(self) -> None:
        """A call was accepted."""
        with self._changed:
            self._governor.succeeded()

    def was_partial(self) -> None:
        """A call was accepted in part."""
        with self._changed:
            self._governor.was_partial(self._monotonic())

    def failed(self) -> None:
        """Nothing of a call was accepted, for a reason that may pass."""
        with self._changed:
            self._governor.failed(self._monotonic())

    def went_round(self) -> None:
        """A call went another way and was accepted there."""
        with self._changed:
            self._governor.went_round()

    def hurry(self) -> None:
        """Make pauses short."""
        with self._changed:
            self._governor.hurry(self._monotonic())
            self._changed.notify_all()

    def close(self) -> None:
        """Say that nothing more will be put."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Hand out no more calls."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def _choose(self) -> list[Record]:
        call = fill_call(self._records, in_flight=self._in_flight)
        if not self._company or not call:
            return call
        company = self._company.get(call[0].number)
        if company is None:
            return [record for record in call if record.number not in self._company]
        return [record for record in call if record.number in self._company][:company]

    def _begin(self, call: list[Record]) -> None:
        chosen = {record.number for record in call}
        self._records = [record for record in self._records if record.number not in chosen]
        for record in call:
            self._in_flight |= record.origins
        self._calls.append(call)
        self._governor.began(sum(len(record.data) for record in call))


def _number(record: Record) -> int:
    return record.number
