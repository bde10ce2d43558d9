"""A state volume that takes nothing: said, held, and over when a write succeeds; nobody spins meanwhile."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from log_forwarder.batching import Record
from log_forwarder.compression import compressor
from log_forwarder.governor import Governor
from log_forwarder.outbox import Outbox
from log_forwarder.packer import Packer
from log_forwarder.plans import Plans
from log_forwarder.reader import Reader
from log_forwarder.state import State
from sidecar.errors import Transient

from .building import record


class Unwritable:
    """Takes no record and tells of it."""

    def __init__(self) -> None:
        self.is_full = True
        self.tries = 0
        self.taken: list[Record] = []
        self.told = 0

    def hand_on(self, record: Record) -> None:
        self.tries += 1
        if self.is_full:
            raise Transient("Cannot write", why="the volume is full")
        self.taken.append(record)

    def state_unwritable(self, error: Transient) -> None:
        self.told += 1

    def read(self, *, kind: str, lines: int, plain_bytes: int, is_part: bool) -> None: ...

    def looked(self, *, lag_bytes: int, lag_seconds: dict[str, float], held_bytes: int) -> None: ...


def _is_in_trouble(state: State) -> bool:
    return state.trouble is not None


def test_trouble_stays_until_a_write_succeeds(tmp_path: Path) -> None:
    state = State(tmp_path)
    seen = [_is_in_trouble(state)]
    with pytest.raises(Transient), state.writing() as db:
        db.execute("INSERT INTO no_such_table VALUES (1)")
    seen.append(_is_in_trouble(state))
    with state.writing() as db:
        db.execute("DELETE FROM plans")
    seen.append(_is_in_trouble(state))
    state.close()
    assert seen == [False, True, False]


def test_records_that_are_made_again_wait_for_the_state_without_spinning_and_their_plans_stay(
    tmp_path: Path,
) -> None:
    state = State(tmp_path)
    plans, sender = Plans(state, "settings"), Unwritable()
    plans.add(record(number=7))
    reader = Reader(
        inputs=[],
        packer=Packer(line_format="raw", compress=compressor("none"), facts={}, last_number=7),
        outbox=Outbox(
            governor=Governor(draw=random.Random(1).uniform, calls_max=1),  # noqa: S311 - jitter
            most_bytes=10**6,
            monotonic=lambda: 0.0,
            wake=lambda: None,
        ),
        sender=sender,
        plans=plans,
        listener=sender,
        monotonic=lambda: 0.0,
        flush_seconds=1,
    )
    reader._sealed.append(record(number=8))  # as if it had been found again
    reader.resume()
    assert (sender.tries, sender.told) == (1, 1)
    assert plans.last_number() == 7  # not forgotten: nothing took its place
    sender.is_full = False
    assert reader.finish_step()
    assert [each.number for each in sender.taken] == [8]
    assert plans.last_number() == 0
    state.close()
