"""Each record until it is accepted: what is sent again, in which order, what is set aside, what is told."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from log_forwarder.batching import Record
from log_forwarder.dead_letters import DeadLetters
from log_forwarder.firehose import Outcome
from log_forwarder.governor import Governor
from log_forwarder.inputs.base import Span
from log_forwarder.ledger import Ledger
from log_forwarder.outbox import Outbox
from log_forwarder.overflow import Overflow
from log_forwarder.plans import Plans
from log_forwarder.sender import Sender
from log_forwarder.state import State
from sidecar.errors import ConfigError, Permanent, SidecarError, Transient
from sidecar.testing.fake_clock import FakeClock

from .building import Kept, origin, record

BUSY = Transient("Cannot put", why="busy")
POISON = Permanent("Cannot put", why="InvalidArgumentException: no")
REFUSED = Transient("Cannot put", why="some were refused: InvalidArgumentException")
DENIED = ConfigError("Cannot put", why="AccessDenied")

Script = Callable[[int, Sequence[Record]], tuple[set[int], SidecarError | None]]


def accept(_call: int, _records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
    return set(), None


def fail_first(times: int, error: SidecarError) -> Script:
    def script(call: int, records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        return (set(range(len(records))), error) if call <= times else (set(), None)

    return script


def poison(data: bytes) -> Script:
    """Refuse every call that holds this record."""

    def script(_call: int, records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        if any(record.data == data for record in records):
            return set(range(len(records))), POISON
        return set(), None

    return script


@dataclass
class Stream:
    """Answers each call as its script says."""

    script: Script = accept
    calls: list[list[bytes]] = field(default_factory=list)
    accepted: list[bytes] = field(default_factory=list)

    def put(self, records: Sequence[Record]) -> Outcome:
        self.calls.append([record.data for record in records])
        failed, error = self.script(len(self.calls), records)
        self.accepted += [record.data for index, record in enumerate(records) if index not in failed]
        return Outcome(
            accepted=tuple(record for index, record in enumerate(records) if index not in failed),
            failed=tuple(record for index, record in enumerate(records) if index in failed),
            error=error,
            refused=tuple(record for index, record in enumerate(records) if index in failed)
            if getattr(error, "why", "") == "some were refused: InvalidArgumentException"
            else (),
        )


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data


@dataclass
class Told:
    letters: list[str] = field(default_factory=list)
    overflowed_records: int = 0
    unwritable: list[str] = field(default_factory=list)

    def put(self, outcome: Outcome, *, seconds: float) -> None: ...

    def overflowed(self, outcome: Outcome) -> None:
        self.overflowed_records += len(outcome.accepted)

    def dead_letter(self, record: Record, path: Path, why: SidecarError) -> None:
        self.letters.append(record.id)

    def state_unwritable(self, error: SidecarError) -> None:
        self.unwritable.append(str(error))


@dataclass
class Bench:
    """A sender with everything around it; one thread, and a clock that each look moves on."""

    directory: Path
    state: State
    stream: Stream = field(default_factory=Stream)
    kept: Kept = field(default_factory=Kept)
    told: Told = field(default_factory=Told)
    bucket: Bucket = field(default_factory=Bucket)
    clock: FakeClock = field(default_factory=FakeClock)
    overflow_after_seconds: float = 1e9
    step_seconds: float = 31.0  # longer than any pause: nothing here waits

    def __post_init__(self) -> None:
        self.outbox = Outbox(
            governor=Governor(draw=random.Random(1).uniform, calls_max=1),  # noqa: S311 - jitter, not cryptography
            most_bytes=10**6,
            monotonic=self.monotonic,
            wake=lambda: None,
        )
        self.overflow = Overflow(
            store=self.bucket,
            suffix=".ndjson",
            after_seconds=self.overflow_after_seconds,
            monotonic=self.clock.monotonic,
            now=lambda: datetime(2026, 1, 2, 3, tzinfo=UTC),
        )
        self.plans = Plans(self.state, "x")
        self.sender = Sender(
            outbox=self.outbox,
            firehose=self.stream,
            overflow=self.overflow,
            dead_letters=DeadLetters(self.directory / "dead", store=None, suffix=".ndjson"),
            ledger=Ledger(),
            plans=self.plans,
            listener=self.told,
            monotonic=self.clock.monotonic,
            on_change=lambda: None,
        )

    def monotonic(self) -> float:
        self.clock.advance(self.step_seconds)
        return self.clock.monotonic()

    def send(self, *records: Record) -> None:
        for each in records:
            self.sender.hand_on(each)
        self.outbox.close()
        self.sender.run()

    def records(self, count: int) -> list[Record]:
        """Records of as many origins, which one call carries."""
        return [
            record(b"%d" % number, of=[origin(number, kept=self.kept)], number=number)
            for number in range(1, count + 1)
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    state = State(tmp_path / "state")
    yield Bench(tmp_path, state)
    state.close()


def test_exactly_the_failed_records_are_sent_again_with_the_same_bytes(bench: Bench) -> None:
    answers = iter([({0, 2}, BUSY), ({1}, BUSY)])
    bench.stream.script = lambda _call, _records: next(answers, (set(), None))

    bench.send(*bench.records(3))

    assert bench.stream.calls == [[b"1", b"2", b"3"], [b"1", b"3"], [b"3"]]


def test_failed_records_share_their_next_call_with_new_ones_and_keep_their_place(bench: Bench) -> None:
    first, second = bench.records(2)
    bench.stream.script = fail_first(1, BUSY)

    def more(call: int, records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        if call == 1:
            bench.sender.hand_on(second)
        return fail_first(1, BUSY)(call, records)

    bench.stream.script = more
    bench.send(first)

    assert bench.stream.calls == [[b"1"], [b"1", b"2"]]


def test_offsets_move_for_accepted_records_alone(bench: Bench) -> None:
    seen: list[dict[str, int]] = []

    def script(call: int, _records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        seen.append(dict(bench.kept.ends))
        return ({0, 2}, BUSY) if call == 1 else (set(), None)

    bench.stream.script = script
    bench.send(*bench.records(3))

    assert seen == [{}, {f"{2:016x}": 10}]
    assert bench.kept.ends == {f"{number:016x}": 10 for number in (1, 2, 3)}


def test_an_outage_is_sat_out_and_nothing_overtakes(bench: Bench) -> None:
    bench.stream.script = fail_first(50, BUSY)
    same = origin(1, kept=bench.kept)
    records = [
        record(b"%d" % number, of=[same], number=number, start=number * 10, end=number * 10 + 10)
        for number in range(5)
    ]

    bench.send(*records)

    assert bench.stream.accepted == [b"0", b"1", b"2", b"3", b"4"]
    assert bench.sender.trouble is None


def test_a_refusal_before_anything_was_accepted_ends_it(bench: Bench) -> None:
    bench.stream.script = fail_first(10**9, DENIED)

    bench.send(*bench.records(1))

    assert bench.sender.refused is DENIED
    assert len(bench.stream.calls) == 1


def test_a_refusal_later_is_held_until_it_is_mended(bench: Bench) -> None:
    one, two = bench.records(2)

    def script(call: int, _records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        if call == 1:
            bench.sender.hand_on(two)
        return ({0}, DENIED) if 1 < call < 40 else (set(), None)

    bench.stream.script = script
    bench.send(one)

    assert bench.sender.refused is None
    assert bench.stream.accepted == [b"1", b"2"]


def test_a_poisoned_record_is_found_by_halving_kept_and_passed_over(bench: Bench) -> None:
    bench.stream.script = poison(b"5")

    bench.send(*bench.records(8))

    assert sorted(bench.stream.accepted) == [b"1", b"2", b"3", b"4", b"6", b"7", b"8"]
    assert bench.told.letters == [f"{5:032x}"]
    assert (bench.directory / "dead" / f"{5:032x}.ndjson").read_bytes() == b"5"
    assert "InvalidArgumentException" in (bench.directory / "dead" / f"{5:032x}.json").read_text()
    assert len(bench.kept.ends) == 8  # it must not be read again


def test_a_record_refused_by_its_own_code_again_and_again_is_kept_and_passed_over(bench: Bench) -> None:
    def script(_call: int, records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        refused = {index for index, record in enumerate(records) if record.data == b"5"}
        return refused, REFUSED if refused else None

    bench.stream.script = script
    bench.send(*bench.records(8))

    assert sorted(bench.stream.accepted) == [b"1", b"2", b"3", b"4", b"6", b"7", b"8"]
    assert bench.told.letters == [f"{5:032x}"]
    assert sum(b"5" in call for call in bench.stream.calls) == 5
    assert len(bench.kept.ends) == 8


def test_a_record_throttled_again_and_again_is_never_set_aside(bench: Bench) -> None:
    def script(call: int, records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        slow = {index for index, record in enumerate(records) if record.data == b"5" and call < 50}
        return slow, BUSY if slow else None

    bench.stream.script = script
    bench.send(*bench.records(8))

    assert sorted(bench.stream.accepted) == [b"%d" % number for number in range(1, 9)]
    assert bench.told.letters == []


def test_when_everything_is_refused_it_is_not_the_records_and_all_is_held(bench: Bench) -> None:
    def script(call: int, records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        return (set(range(len(records))), POISON) if call < 100 else (set(), None)

    bench.stream.script = script
    bench.send(*bench.records(8))

    assert len(bench.told.letters) == 3
    assert len(bench.stream.accepted) == 5


def test_a_place_that_cannot_be_written_down_is_waited_for(bench: Bench) -> None:
    (one,) = bench.records(1)

    class FullDisk(Kept):
        def keep(self, spans: Sequence[Span]) -> None:
            super().keep(spans)
            if self.calls < 3:
                raise Transient("Cannot write", why="disk full")

    bench.sender._abandon.wait = lambda _seconds: False  # type: ignore[method-assign, misc, assignment]  # no pause
    full = FullDisk()
    one.spans[0].origin.keeper = full
    bench.send(one)

    assert full.calls == 3
    assert len(bench.told.unwritable) == 2
    assert len(bench.stream.calls) == 1  # it is not sent again for that


def test_a_long_outage_goes_round_by_s3_and_firehose_is_asked_now_and_then(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    bench = Bench(tmp_path, state, overflow_after_seconds=100, step_seconds=7.0)
    bench.outbox._governor.longest_pause_seconds = 0.0
    bench.stream.script = fail_first(10**9, BUSY)
    same = origin(1, kept=bench.kept)
    records = [
        record(b"%d" % number, of=[same], number=number, start=number * 10, end=number * 10 + 10)
        for number in range(20)
    ]

    bench.send(*records)

    assert bench.bucket.objects == {f"2026/01/02/03/{each.id}.ndjson": each.data for each in records}
    assert bench.kept.ends == {f"{1:016x}": 200}
    assert bench.stream.calls[-1] != [b"0"]  # asked again while the others went round
    state.close()


def test_when_the_time_to_stop_is_nearly_over_everything_goes_round_by_s3(bench: Bench) -> None:
    bench.overflow.at_once_from(0.0)

    bench.send(*bench.records(3))

    assert bench.stream.calls == []
    assert sorted(bench.bucket.objects.values()) == [b"1", b"2", b"3"]


def test_a_record_is_planned_before_it_is_sent_and_forgotten_once_accepted(bench: Bench) -> None:
    seen: list[int] = []

    def script(_call: int, _records: Sequence[Record]) -> tuple[set[int], SidecarError | None]:
        seen.append(len(bench.plans.left()))
        return set(), None

    bench.stream.script = script
    bench.send(*bench.records(2))

    assert seen == [2]
    assert bench.plans.left() == []


def test_calls_in_parallel_never_carry_the_same_origin(tmp_path: Path) -> None:
    outbox = Outbox(
        governor=Governor(draw=random.Random(1).uniform, calls_max=8),  # noqa: S311 - jitter, not cryptography
        most_bytes=10**6,
        monotonic=lambda: 0.0,
        wake=lambda: None,
    )
    outbox.hurry()
    shared, other = origin(1), origin(2)
    for number in range(4):
        outbox.put(record(of=[shared], number=number))
    outbox.put(record(of=[other], number=9))

    first = outbox.take()
    taken = threading.Thread(target=outbox.take, daemon=True)
    taken.start()

    assert first is not None
    assert [each.number for each in first] == [0, 9]
    assert outbox.calls_in_flight == 1
    outbox.abandon()
    taken.join(10)
