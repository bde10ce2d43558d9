"""Each record until it is accepted: what is sent again, in which order, and what is told."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from log_forwarder.batching import Record, Span
from log_forwarder.checkpoints import Checkpoints
from log_forwarder.fingerprint import Fingerprint
from log_forwarder.firehose import Outcome
from log_forwarder.outbox import Outbox
from log_forwarder.sender import Sender
from sidecar.errors import ConfigError, SidecarError, Transient

Answer = tuple[set[int], SidecarError | None]
BUSY = Transient("Cannot put", why="busy")


class Scripted:
    """Answers each call as told, then accepts everything."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.calls: list[list[bytes]] = []
        self.outcomes: list[Outcome] = []

    def put(self, records: Sequence[Record]) -> Outcome:
        failed, error = self.answers.pop(0) if self.answers else (set(), None)
        self.calls.append([record.data for record in records])
        return Outcome(
            accepted=tuple(record for index, record in enumerate(records) if index not in failed),
            failed=tuple(record for index, record in enumerate(records) if index in failed),
            error=error,
        )


class Told:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def put(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[Checkpoints]:
    checkpoints = Checkpoints(tmp_path / "state")
    yield checkpoints
    checkpoints.close()


Send = Callable[[Scripted, list[Record]], Sender]


@pytest.fixture
def send(checkpoints: Checkpoints) -> Send:
    """Send records through a script, without pauses, until the outbox is empty."""

    def run(firehose: Scripted, records: list[Record]) -> Sender:
        outbox = Outbox(threading.Event())
        for record in records:
            outbox.put(record)
        outbox.close()
        sender = Sender(
            outbox=outbox,
            firehose=firehose,
            checkpoints=checkpoints,
            listener=Told(),
            rng=random.Random(1),  # noqa: S311 - jitter, not cryptography
            on_change=lambda: None,
            longest_pause_seconds=0.0,
        )
        sender.run()
        return sender

    return run


@pytest.fixture
def records(checkpoints: Checkpoints) -> list[Record]:
    """Three records of three files, which one call carries."""
    made = []
    for inode in (1, 2, 3):
        known = checkpoints.register(path=f"/{inode}", device=1, inode=inode, head=b"x")
        span = Span(
            generation=known.generation, start=0, end=10, parts_after=0, fingerprint=Fingerprint(None, b"\n")
        )
        made.append(Record(data=b"record %d" % inode, spans=(span,), lines=1))
    return made


def offsets(checkpoints: Checkpoints) -> list[int]:
    return [known.offset for inode in (1, 2, 3) for known in checkpoints.find(inode)]


def test_exactly_the_failed_records_are_sent_again_with_the_same_bytes(
    send: Send, records: list[Record]
) -> None:
    firehose = Scripted(({0, 2}, BUSY), ({1}, BUSY))

    send(firehose, records)

    assert firehose.calls == [
        [b"record 1", b"record 2", b"record 3"],
        [b"record 1", b"record 3"],
        [b"record 3"],
    ]


def test_offsets_move_for_accepted_records_alone(
    checkpoints: Checkpoints, send: Send, records: list[Record]
) -> None:
    seen: list[list[int]] = []

    class Watching(Scripted):
        def put(self, records: Sequence[Record]) -> Outcome:
            seen.append(offsets(checkpoints))
            return super().put(records)

    send(Watching(({0, 2}, BUSY)), records)

    assert seen == [[0, 0, 0], [0, 10, 0]]
    assert offsets(checkpoints) == [10, 10, 10]


def test_an_outage_is_sat_out_and_nothing_overtakes(send: Send, records: list[Record]) -> None:
    firehose = Scripted(*[({0, 1, 2}, BUSY)] * 50)

    sender = send(firehose, records)

    assert len(firehose.calls) == 51
    assert sender.trouble is None


def test_a_refusal_before_anything_was_accepted_ends_it(send: Send, records: list[Record]) -> None:
    denied = ConfigError("Cannot put", why="AccessDenied")

    sender = send(Scripted(({0, 1, 2}, denied)), records)

    assert sender.refused is denied


def test_a_refusal_later_is_sat_out(checkpoints: Checkpoints, send: Send, records: list[Record]) -> None:
    denied = ConfigError("Cannot put", why="AccessDenied")

    sender = send(Scripted(({1, 2}, BUSY), ({0, 1}, denied)), records)

    assert sender.refused is None
    assert offsets(checkpoints) == [10, 10, 10]
