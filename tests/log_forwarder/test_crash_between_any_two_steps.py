"""Reading, delivering and checkpointing, stopped after every step and started again from the disk."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from log_forwarder.batching import Record
from log_forwarder.compression import compressor
from log_forwarder.governor import Governor
from log_forwarder.inputs.base import Span
from log_forwarder.ledger import Ledger
from log_forwarder.outbox import Outbox
from log_forwarder.packer import Packer
from log_forwarder.plans import Plans
from log_forwarder.reader import Reader
from sidecar.errors import Transient
from sidecar.testing.replay import run_every_prefix

from .tailing import Tail

FILES = ("a.log", "b.log", "c.log")
PADDING = "x" * 1500  # so that a file is many chunks
LINES = 700  # so that files share records, and each is in several


class Unheard:
    """A listener that nobody needs here."""

    def read(self, *, kind: str, lines: int, plain_bytes: int, is_part: bool) -> None: ...

    def looked(self, *, lag_bytes: int, lag_seconds: dict[str, float], held_bytes: int) -> None: ...

    def state_unwritable(self, error: Transient) -> None:
        raise AssertionError(error)


@dataclass
class Disk:
    """What survives a crash: the files, the state and what the stream accepted."""

    root: Path
    stream: list[bytes] = field(default_factory=list)
    tail: Tail | None = None

    def restart(self) -> Tail:
        """Forget everything that is only in memory."""
        if self.tail is not None:
            self.tail.stop()
        self.tail = Tail(self.root)
        return self.tail


@dataclass
class Step:
    verb: Literal["plan", "deliver", "checkpoint"]
    record: Record
    plans: Plans
    ledger: Ledger


class Collected:
    """Takes the reader's records, and sends none."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def hand_on(self, record: Record) -> None:
        self.records.append(record)


def plan(disk: Disk) -> list[Step]:
    """Read what the state says is left; each record is planned, delivered, then marked."""
    tail = disk.restart()
    plans, ledger, collected = Plans(tail.state, "settings"), Ledger(), Collected()
    outbox = Outbox(
        governor=Governor(draw=random.Random(1).uniform, calls_max=1),  # noqa: S311 - jitter, not cryptography
        most_bytes=10**9,
        monotonic=tail.clock.monotonic,
        wake=lambda: None,
    )
    reader = Reader(
        inputs=[tail.input],
        packer=Packer(
            line_format="envelope",
            compress=compressor("none"),
            facts={},
            last_number=plans.last_number(),
        ),
        outbox=outbox,
        sender=collected,
        plans=Plans(tail.state, "settings"),
        listener=Unheard(),
        monotonic=tail.clock.monotonic,
        flush_seconds=1,
    )
    kept_plans = plans.left()
    reader.resume()  # forgets the plans of records that it made again: they are the first to be planned
    again = len(collected.records)
    assert again == len(kept_plans)
    reader.begin_to_finish()
    while not reader.finish_step():
        pass
    for record in collected.records:
        ledger.hand_on(record.spans)
    for record in collected.records[:again]:
        plans.add(record)
    return [
        Step(verb, record, plans, ledger)
        for record in collected.records
        for verb in ("plan", "deliver", "checkpoint")
    ]


def apply(disk: Disk, step: Step) -> None:
    if step.verb == "plan":
        step.plans.add(step.record)
    elif step.verb == "deliver":
        disk.stream.append(step.record.data)
    else:
        advanced: list[Span] = step.ledger.acknowledge(step.record.spans)
        assert disk.tail is not None
        disk.tail.checkpoints.keep(advanced)
        step.plans.done([step.record])


def delivered_ranges(disk: Disk) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for record in disk.stream:
        for header in re.findall(rb'^{"_fwd":.*$', record, re.MULTILINE):
            about = json.loads(header)["_fwd"]
            found.setdefault(about["source"], []).append((about["start"], about["end"]))
    return found


def no_offset_is_ahead_of_the_stream(disk: Disk) -> None:
    assert disk.tail is not None
    delivered = delivered_ranges(disk)
    for name in FILES:
        path = disk.root / "logs" / name
        for known in disk.tail.checkpoints.find(path.stat().st_ino):
            assert known.offset <= max((end for _, end in delivered.get(str(path), [])), default=0)


def everything_is_there_and_what_is_repeated_is_one_record_with_the_same_bytes(disk: Disk) -> None:
    assert len(disk.stream) - len(set(disk.stream)) <= 1
    once = list(dict.fromkeys(disk.stream))
    for name in FILES:
        path = disk.root / "logs" / name
        ranges = delivered_ranges(Disk(root=disk.root, stream=once))[str(path)]
        assert [start for start, _ in ranges] == [0, *[end for _, end in ranges[:-1]]]  # they tile it
        assert ranges[-1][1] == path.stat().st_size


@pytest.mark.timeout(240)
def test_a_crash_after_any_step_loses_nothing_and_repeats_one_record_at_most_byte_for_byte(
    tmp_path: Path,
) -> None:
    worlds: list[Disk] = []

    def start() -> Disk:
        disk = Disk(root=tmp_path / str(len(worlds)))
        worlds.append(disk)
        (disk.root / "logs").mkdir(parents=True)
        for name in FILES:
            lines = "".join(f'{{"n":{n},"pad":"{PADDING}"}}\n' for n in range(LINES))
            (disk.root / "logs" / name).write_text(lines)
        return disk

    prefixes = run_every_prefix(
        start=start,
        plan=plan,
        apply=apply,
        holds=no_offset_is_ahead_of_the_stream,
        is_goal=everything_is_there_and_what_is_repeated_is_one_record_with_the_same_bytes,
    )
    for disk in worlds:
        if disk.tail is not None:
            disk.tail.stop()

    assert prefixes >= 10
