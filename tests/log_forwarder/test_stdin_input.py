"""Standard input is taken to its end, or, at SIGTERM, as far as it goes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from log_forwarder.inputs.stdin import StdinFeeder
from sidecar.testing.waiting import wait_until

from .pushing import MIB, Pushing, lines


class Reading:
    """A pipe whose other end is read into a spool."""

    def __init__(self, state: Path, *, budget_bytes: int = 64 * MIB) -> None:
        self.ours, self.theirs = os.pipe()
        self.has_ended = threading.Event()
        self.pushing = Pushing(
            state,
            budget_bytes=budget_bytes,
            feeders=lambda pushing: [
                StdinFeeder(
                    self.ours,
                    writer=pushing.writer,
                    on_end=self.has_ended.set,
                )
            ],
        )
        self.chunks = self.pushing.chunks()

    def has(self, expected: list[bytes]) -> None:
        def come() -> bool:
            self.chunks += self.pushing.chunks()
            return lines(self.chunks) == expected

        wait_until(come, f"{len(expected)} lines")

    def end(self) -> None:
        if self.theirs >= 0:
            os.close(self.theirs)
        self.theirs = -1

    def write_all(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.theirs, data) :]
        self.end()

    def is_finished(self) -> bool:
        return self.pushing.input.is_finished


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    made = Reading(tmp_path)
    yield made
    made.end()
    made.pushing.close()
    os.close(made.ours)


def test_lines_come_as_they_are_written_and_the_last_one_at_the_end(reading: Reading) -> None:
    os.write(reading.theirs, b"one\ntw")
    reading.has([b"one"])
    os.write(reading.theirs, b"o\nlast")
    reading.has([b"one", b"two"])
    reading.end()
    assert reading.has_ended.wait(20)
    reading.has([b"one", b"two", b"last"])
    assert reading.is_finished()


def test_told_to_finish_it_takes_what_is_there_although_nobody_closed_it(reading: Reading) -> None:
    os.write(reading.theirs, b"one\ntwo")
    reading.pushing.input.begin_to_finish()
    wait_until(lambda: reading.pushing.feeders[0].is_finished, "it gave up waiting")
    reading.has([b"one", b"two"])
    assert not reading.has_ended.is_set()


def test_a_megabyte_without_a_newline_and_binary_pass(reading: Reading) -> None:
    data = bytes(range(256)).replace(b"\n", b"") * 5000
    writer = threading.Thread(target=reading.write_all, args=(data,))
    writer.start()

    def come() -> bool:
        reading.chunks += reading.pushing.chunks()
        return b"".join(chunk.data for chunk in reading.chunks) == data + b"\n"

    wait_until(come, "all of it")
    writer.join(20)
    assert [chunk.part for chunk in reading.chunks] == [1, 2]


def test_told_to_finish_it_does_not_wait_for_a_producer_that_never_pauses(reading: Reading) -> None:
    os.write(reading.theirs, b"first\n")
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.wait(0.01):
            os.write(reading.theirs, b"more\n")

    producer = threading.Thread(target=go_on)
    producer.start()
    try:
        (feeder,) = reading.pushing.feeders
        feeder.begin_to_finish()
        wait_until(lambda: feeder.is_finished, "it ends while lines still come", deadline_seconds=10)
    finally:
        is_over.set()
        producer.join()
    reading.chunks += reading.pushing.chunks()
    assert lines(reading.chunks)[:1] == [b"first"]
