"""The reading thread's work: inputs -> chunks -> records -> sender, one turn at a time.

It runs for as long as there is room behind it. While there is none it still looks, so that a file that
is written and removed during an outage is open, and can be read, when the outage is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from log_forwarder.batching import Record
from log_forwarder.envelope import count_lines
from log_forwarder.inputs.base import Chunk, Input
from log_forwarder.linger import is_due
from log_forwarder.outbox import Outbox
from log_forwarder.packer import Packer
from log_forwarder.plans import Plan, Plans
from sidecar.errors import Transient

_LONGEST_PAUSE_SECONDS = 1.0
_SHORTEST_PAUSE_SECONDS = 0.005  # of a busy file: what it gets meanwhile is one read, not many
_REPORT_SECONDS = 1.0


class Listener(Protocol):
    """Who is told what was read."""

    def read(self, *, kind: str, lines: int, plain_bytes: int, is_part: bool) -> None:
        """Lines, or a part of a long one, were handed on."""

    def looked(self, *, lag_bytes: int, lag_seconds: dict[str, float], held_bytes: int) -> None:
        """How far we are behind."""

    def state_unwritable(self, error: Transient) -> None:
        """A record's plan could not be written down; sending waits for it."""


class HandOn(Protocol):
    """Where records go."""

    def hand_on(self, record: Record) -> None:
        """Take a record; raises Transient when its plan cannot be written down now."""


class Reader:
    """Reads in turns; used by one thread.

    Args:
        inputs: where lines come from.
        packer: makes records.
        outbox: says whether there is room.
        sender: takes the records.
        plans: what an earlier process had on its way.
        listener: who is told.
        monotonic: the time, in seconds.
        flush_seconds: the longest a line waits for its record, unless waiting pays (see ``linger``).
        on_chunk: shown every chunk that is handed on, as it is sent; must not wait.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[Input],
        packer: Packer,
        outbox: Outbox,
        sender: HandOn,
        plans: Plans,
        listener: Listener,
        monotonic: Callable[[], float],
        flush_seconds: float,
        on_chunk: Callable[[Chunk], None] = lambda _chunk: None,
    ) -> None:
        self._inputs = inputs
        self._packer = packer
        self._outbox = outbox
        self._sender = sender
        self._plans = plans
        self._listener = listener
        self._monotonic = monotonic
        self._flush_seconds = flush_seconds
        self._on_chunk = on_chunk
        self._sealed: list[Record] = []
        self._forgets_up_to = 0
        self._next_report = monotonic()

    @property
    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [descriptor for source in self._inputs for descriptor in source.descriptors]

    def resume(self) -> None:
        """Make the records again that an earlier process may have sent, byte for byte."""
        plans, last_number = self._plans.left(), self._plans.last_number()
        for source in self._inputs:
            source.look()
        for plan in plans:
            self._seal_into(self._packer.again(self._found_again(plan)))
        self._forgets_up_to = last_number
        self._hand_on()

    def turn(self) -> float:
        """Do what is due; return how many seconds may pass until the next turn, unless there is news."""
        for source in self._inputs:
            source.look()
        has_read = self._read_once()
        if self._may_seal and self._is_due():
            self._seal_into(self._packer.seal())
        self._hand_on()
        self._report()
        if has_read and self._has_room():
            return 0.0
        pause = min(_LONGEST_PAUSE_SECONDS, *(source.due_seconds() for source in self._inputs))
        if not self._has_room():
            return _LONGEST_PAUSE_SECONDS
        if self._may_seal and self._packer.oldest_at is not None:
            left = self._packer.oldest_at + self._flush_seconds - self._monotonic()
            pause = min(pause, left) if left > 0 else min(pause, self._flush_seconds / 4)
        return max(_SHORTEST_PAUSE_SECONDS, pause)

    def begin_to_finish(self) -> None:
        """Look once more; what is there now is what is left to do."""
        for source in self._inputs:
            source.begin_to_finish()

    def finish_step(self) -> bool:
        """Read on; return True once all was handed on and sealed. False may also mean: no room now."""
        for source in self._inputs:
            source.look()
        has_read = self._read_once()
        is_finished = not has_read and all(source.is_finished for source in self._inputs)
        if is_finished or (self._may_seal and self._is_due()):
            self._seal_into(self._packer.seal())
        self._report()
        return self._hand_on() and is_finished

    def left_bytes(self) -> int:
        """Return how much of what was there at the last look is not accepted."""
        return sum(source.lag_bytes() for source in self._inputs)

    def _has_room(self) -> bool:
        return self._outbox.has_room and not self._sealed

    @property
    def _may_seal(self) -> bool:
        return not self._packer.is_empty and self._outbox.is_idle

    def _is_due(self) -> bool:
        age_seconds = self._monotonic() - (self._packer.oldest_at or 0.0)
        return is_due(self._packer.likely_bytes, age_seconds, flush_seconds=self._flush_seconds)

    def _read_once(self) -> bool:
        """Read up to one chunk of each source that has something; return whether there was any."""
        has_read = False
        for source in self._inputs:
            if not self._has_room():
                break
            for chunk in source.chunks():
                has_read = True
                ruled = self._ruled(source, chunk)
                self._on_chunk(ruled)
                self._seal_into(self._packer.add(ruled))
                self._hand_on()
                if not self._has_room():
                    break
        return has_read

    def _ruled(self, source: Input, chunk: Chunk) -> Chunk:
        """Apply the rules, and tell what was read."""
        ruled = source.apply(chunk)
        read_lines = count_lines(chunk)
        self._listener.read(
            kind=chunk.origin.kind,
            lines=read_lines,
            plain_bytes=len(chunk.data),
            is_part=chunk.part > 0,
        )
        return ruled._replace(lines=read_lines if ruled is chunk else count_lines(ruled))

    def _found_again(self, plan: Plan) -> Iterable[tuple[Chunk, ...]]:
        for member in plan:
            yield tuple(
                self._ruled(source, chunk)
                for wanted in member
                for source in self._inputs
                if (chunk := source.again(wanted)) is not None
            )

    def _seal_into(self, records: Iterable[Record]) -> None:
        self._sealed += records

    def _hand_on(self) -> bool:
        """Give sealed records to the sender, each once its plan is on disk; return whether all went."""
        while self._sealed:
            try:
                self._sender.hand_on(self._sealed[0])
            except Transient as err:
                self._listener.state_unwritable(err)
                return False
            del self._sealed[0]
        return self._forget_old_plans()

    def _forget_old_plans(self) -> bool:
        """Forget what an earlier process planned, once all of it was planned again."""
        if self._forgets_up_to:
            try:
                self._plans.forget_up_to(self._forgets_up_to)
            except Transient as err:
                self._listener.state_unwritable(err)
                return False
            self._forgets_up_to = 0
        return True

    def _report(self) -> None:
        now = self._monotonic()
        if now < self._next_report:
            return
        self._next_report = now + _REPORT_SECONDS
        oldest: dict[str, float] = {}
        for since in (
            self._outbox.held_since(),
            self._packer.held_since(),
            *(dict[str, float](source.unread_since().items()) for source in self._inputs),
        ):
            for kind, moment in since.items():
                oldest[kind] = min(moment, oldest.get(kind, moment))
        self._listener.looked(
            lag_bytes=self.left_bytes(),
            lag_seconds={kind: max(0.0, now - moment) for kind, moment in oldest.items()},
            held_bytes=self._outbox.held_bytes,
        )
