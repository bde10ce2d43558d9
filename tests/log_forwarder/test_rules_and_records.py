"""What rules change is cut where offsets are known: it fits, and a crash repeats the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from log_forwarder import envelope, packer
from log_forwarder.batching import MAX_RECORD_BYTES, Record
from log_forwarder.compression import compressor
from log_forwarder.envelope import Format, chunk_bytes, count_lines
from log_forwarder.inputs.base import Chunk, LineRules, Span
from log_forwarder.inputs.files import IDLE_FLUSH_SECONDS
from log_forwarder.packer import Packer
from log_forwarder.ruled import ruled
from log_forwarder.transforms.rules import Rules

from .building import chunk
from .tailing import Tail

RULES = {
    "none": Rules(),
    "redact": Rules(redacts=True),
    "multiline": Rules(joins=True),
    "level": Rules(lowest_level="info"),
    "all": Rules(redacts=True, joins=True, lowest_level="info"),
}
EVENT = (
    "[2026-11-23] INFO {n} password=hunter{n}secret\n  at one\n  at two token={n}abcdef\n"
    '{{"n":{n},"level":"debug","password":"hunter{n}secret"}}\n{{"n":{n},"level":"error","my-key":{n}}}\n'
)


@pytest.fixture
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_MEMBER_BYTES", 3000)
    monkeypatch.setattr(packer, "MAX_MEMBER_BYTES", 3000)
    monkeypatch.setattr(packer, "MAX_CHUNK_BYTES", 1500)
    monkeypatch.setattr(packer, "MAX_RECORD_BYTES", 3000)


def _packer(line_format: Format) -> Packer:
    return Packer(line_format=line_format, compress=compressor("none"), facts={}, joins=True)


def _counted(given: Chunk) -> Chunk:
    return given._replace(lines=count_lines(given))


def _records(tail: Tail, line_format: Format) -> list[Record]:
    mine = _packer(line_format)
    tail.finder.scan()
    tail.input.look()
    made: list[Record] = []
    for _ in range(2):  # then what waits for more is due
        while chunks := list(tail.input.chunks()):
            for each in chunks:
                made += mine.add(_counted(tail.input.apply(each)))
        tail.clock.advance(IDLE_FLUSH_SECONDS + 1)
    return [*made, *mine.seal()]


def _again(tail: Tail, record: Record, line_format: Format) -> list[Record]:
    def found() -> list[tuple[Chunk, ...]]:
        members: list[tuple[Chunk, ...]] = []
        for member in record.plan:
            pieces = [tail.input.again(wanted) for wanted in member]
            assert None not in pieces
            members.append(tuple(_counted(tail.input.apply(piece)) for piece in pieces if piece is not None))
        return members

    return list(_packer(line_format).again(found()))


@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize("line_format", ["json", "envelope", "raw"])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_whatever_the_rules_and_wherever_it_is_killed_the_same_records_are_made_again(
    tmp_path: Path, rules: LineRules, line_format: Format
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("".join(EVENT.format(n=n) for n in range(100)))
    tail = Tail(tmp_path, rules=rules, chunk_bytes=4000)
    records = _records(tail, line_format)
    assert len(records) > 4
    tail.stop()

    for number, record in enumerate(records):  # each is in flight at the kill, all before it were accepted
        after = Tail(tmp_path, rules=rules, chunk_bytes=4000)
        after.finder.scan()
        after.input.look()
        made = _again(after, record, line_format)
        assert [(each.data, each.id) for each in made] == [(record.data, record.id)], number
        for span in made[0].spans:
            span.origin.keeper.keep([Span(span.origin, span.start, span.end, span.position, 0.0)])
        after.stop()


@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_ids_of_json_lines_tile_the_source_under_every_rule(tmp_path: Path, rules: LineRules) -> None:
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "a.log"
    path.write_text("".join(EVENT.format(n=n) for n in range(50)))
    tail = Tail(tmp_path, rules=rules, chunk_bytes=4000)

    lines = b"".join(record.data for record in _records(tail, "json")).splitlines()
    tail.stop()

    ranges = [json.loads(line)["_fwd"]["id"].partition(".")[2].split("-") for line in lines]
    assert [int(first) for first, _ in ranges] == [0, *(int(end) for _, end in ranges[:-1])]
    assert int(ranges[-1][1]) == path.stat().st_size


def _grown(unit: bytes, line_format: Format, *, redacts: bool) -> bytes:
    size = chunk_bytes(line_format, redacts=redacts)
    return unit * (size // len(unit))


@pytest.mark.parametrize("line_format", ["json", "envelope", "raw"])
@pytest.mark.parametrize(
    "unit",
    [
        b'{"token":1}\n',
        b'{"a":"\\\\\\"x-key\\\\\\":1"}\n',
        b"[\na\n",
        b"[\n" + b"\x1b\x01" * 2000 + b"\n" + b"\x02" * 4000 + b"\n",
        b"[\n" + b"\x01-key=1,\n" * 9000,
        b'-key\\\\\\":1,',  # a part of a line without an end
    ],
    ids=["masked", "masked-in-json", "joined", "control", "joined-and-masked", "part"],
)
def test_what_rules_make_longer_still_fits_a_record(unit: bytes, line_format: Format) -> None:
    rules = Rules(redacts=True, joins=True)
    data = _grown(unit, line_format, redacts=True)
    is_part = not unit.endswith(b"\n")
    given = chunk(data, part=int(is_part), is_unfinished=is_part)

    mine = Packer(line_format=line_format, compress=compressor("none"), facts={}, joins=True)
    records = [*mine.add(ruled(given, rules)), *mine.seal()]

    assert len(rules.apply(data)) != len(data)
    assert max(len(record.data) for record in records) <= MAX_RECORD_BYTES
    ranges = [(span.start, span.end) for record in records for span in record.spans]
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == len(data)


@pytest.mark.parametrize("shift", range(0, 60, 7))
def test_a_secret_across_the_border_of_two_parts_is_masked(tmp_path: Path, shift: int) -> None:
    size = 4000
    (tmp_path / "logs").mkdir()
    text = "x" * (size // 2 - shift) + ' password="hunter2-very-secret-value-0123456789" ' + "y" * size + "\n"
    (tmp_path / "logs" / "a.log").write_text(text)
    tail = Tail(tmp_path, rules=Rules(redacts=True), chunk_bytes=size)

    said = b"".join(record.data for record in _records(tail, "json"))
    tail.stop()

    assert b"***" in said
    assert not any(word in said for word in (b"hunter2", b"-very-", b"0123456789"))
