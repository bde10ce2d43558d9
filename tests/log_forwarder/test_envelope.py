"""Each line can be got back exactly, and its id names its bytes, whatever they are."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from log_forwarder.airflow_path import identify, kind_of
from log_forwarder.batching import MAX_RECORD_BYTES
from log_forwarder.envelope import (
    JSON_CHUNK_BYTES,
    MAX_MEMBER_BYTES,
    Segment,
    body,
    header,
    json_chunks,
    printable,
    raw,
)
from log_forwarder.inputs.base import Chunk

from .building import chunk, origin

TASK_LOG = "/opt/airflow/logs/dag_id=etl/run_id=scheduled__2026-01-01T00:00:00+00:00/task_id=load/map_index=2"


def encoded(data: bytes, *, start: int = 0, path: str = "/logs/a.log", **ecs: str) -> list[bytes]:
    """Return the lines of format ``json`` for these lines."""
    made = list(json_chunks(chunk(data, of=origin(path=path), start=start), ecs))
    assert made[0].start == start
    assert made[-1].end == start + len(data)
    return b"".join(each.data for each in made).splitlines(keepends=True)


def envelope(text: bytes, **more: Any) -> dict[str, Any]:
    (line,) = encoded(text + b"\n", **more)
    document = json.loads(line)
    assert isinstance(document, dict)
    return document


def text_of(line: bytes) -> bytes:
    document = json.loads(line)
    if "message_base64" in document:
        return base64.b64decode(document["message_base64"])
    if list(document)[1:] == ["message"] and b'},"message":' in line and document["_fwd"]["id"]:
        return str(document["message"]).encode()
    return b"{" + line.split(b"},", 1)[1][: -len(b"\n")]


json_texts = st.dictionaries(
    st.text().filter(lambda key: key not in ("message", "message_base64")),
    st.none() | st.integers() | st.text(),
    min_size=1,
    max_size=4,
).map(lambda value: json.dumps(value).encode())


@given(st.binary().filter(lambda text: b"\n" not in text and not text.startswith(b"{")) | json_texts)
def test_the_bytes_of_a_line_can_be_got_back(text: bytes) -> None:
    (line,) = encoded(text + b"\n")

    assert text_of(line) == text


def test_a_json_line_keeps_its_keys_and_gets_one_more() -> None:
    line = envelope(b'{"event":"done","dag_id":"other"}', path=f"{TASK_LOG}/attempt=1.log")

    assert (line["event"], line["dag_id"], line["_fwd"]["dag_id"]) == ("done", "other", "etl")


@pytest.mark.parametrize(
    "text", [b'{"a":NaN}', b"{not json}", b"[1]", b'"s"', b"", b"{" * 100_000, b'{"_fwd":1}', b'{"a":1}\r']
)
def test_what_is_not_a_json_object_that_can_be_extended_is_a_message(text: bytes) -> None:
    assert envelope(text)["message"] == text.decode()


def test_an_empty_object_stays_valid() -> None:
    assert list(envelope(b"{}")) == ["_fwd"]


def test_each_line_has_an_id_of_its_own_and_they_tile_the_source() -> None:
    lines = encoded(b"a\n{}\nlong line\n", start=100)

    places = [json.loads(line)["_fwd"]["id"].partition(".")[2] for line in lines]
    assert places == ["100-102", "102-105", "105-115"]


def test_lines_that_a_rule_changed_have_ids_of_the_bytes_they_stand_for() -> None:
    changed = chunk(b"aaaa\nbbbb\ncccc\n")._replace(data=b"aaaa\ncccc\n", shares=[10, 5])

    (made,) = json_chunks(changed, {})

    assert [json.loads(line)["_fwd"]["id"].partition(".")[2] for line in made.data.splitlines()] == [
        "0-10",
        "10-15",
    ]


def test_a_chunk_of_which_nothing_is_left_still_counts_as_read() -> None:
    (made,) = json_chunks(chunk(b"a\n")._replace(data=b""), {})

    assert (made.data, made.start, made.end, made.position) == (b"", 0, 2, 2)


@pytest.mark.parametrize("is_changed", [False, True])
def test_lines_that_grow_beyond_a_member_are_handed_on_in_pieces_of_which_the_last_has_the_place(
    is_changed: bool,
) -> None:
    data = b"\n" * 20_000
    given_chunk = chunk(data)._replace(end=40_000 if is_changed else 20_000)

    made = list(json_chunks(given_chunk, {}))

    assert len(made) > 1
    assert all(len(each.data) <= MAX_MEMBER_BYTES for each in made)
    assert [each.position for each in made] == [None] * (len(made) - 1) + [given_chunk.position]
    assert [each.start for each in made[1:]] == [each.end for each in made[:-1]]
    assert all(each.end > each.start for each in made)
    assert sum(each.lines for each in made) == 20_000


def test_a_task_is_identified_by_its_path_also_for_a_line_that_carries_nothing() -> None:
    found = identify(f"{TASK_LOG}/attempt=3.log")

    assert (found["dag_id"], found["task_id"], found["map_index"], found["attempt"]) == ("etl", "load", 2, 3)
    assert found["run_id"] == "scheduled__2026-01-01T00:00:00+00:00"
    assert kind_of(f"{TASK_LOG}/attempt=3.log") == "airflow_task"


def test_a_triggerers_log_belongs_to_the_attempt_it_continues() -> None:
    assert identify(f"{TASK_LOG}/attempt=3.log.trigger.77.log")["attempt"] == 3


def test_a_path_that_names_no_task_gives_no_identity() -> None:
    path = "/opt/airflow/logs/dag_processor/2026-01-01/dags-folder/a.py.log"
    assert (identify(path), kind_of(path)) == ({}, "file")


def test_a_path_that_is_not_utf_8_can_be_spelled() -> None:
    assert printable("/logs/caf\udce9.log") == "/logs/caf\\xe9.log"
    envelope(b"x", path="/logs/caf\udce9.log")


def test_ecs_facts_are_left_out_when_there_are_none() -> None:
    assert "ecs" not in envelope(b"x")["_fwd"]
    assert envelope(b"x", cluster="c")["_fwd"]["ecs"] == {"cluster": "c"}


def test_a_part_and_a_flushed_tail_say_what_they_are() -> None:
    part = json.loads(next(json_chunks(chunk(b"abc", part=1, is_unfinished=True), {})).data)["_fwd"]
    tail = json.loads(next(json_chunks(chunk(b"abc", is_unfinished=True), {})).data)["_fwd"]

    assert (part["part"], part["is_last_part"], "unterminated" in part) == (1, False, False)
    assert (tail["unterminated"], "part" in tail, tail["id"][-3:]) == (True, False, "0-3")


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"a", b'"'])
def test_the_longest_part_fits_a_record_however_it_must_be_spelled(byte: bytes) -> None:
    deepest = ("/" + "/".join(["\x01" * 255] * 16))[:4096]
    long: Chunk = chunk(byte * JSON_CHUNK_BYTES, of=origin(path=deepest), part=1, is_unfinished=True)
    (made,) = json_chunks(long, {})

    assert len(made.data) <= MAX_RECORD_BYTES
    assert text_of(made.data) == byte * JSON_CHUNK_BYTES


def segment(data: bytes, *, part: int = 0, is_unfinished: bool = False, end: int | None = None) -> Segment:
    return Segment(origin(), 7, 7 + len(data) if end is None else end, data, part, is_unfinished, 1)


def test_an_envelope_says_where_its_lines_came_from_and_proves_them() -> None:
    about = json.loads(header(segment(b"one\ntwo\n"), {"cluster": "c"}))["_fwd"]

    assert about == {
        "v": 1,
        "id": "0000000000000001.7-15",
        "source": "/logs/a.log",
        "stream": "file",
        "ecs": {"cluster": "c"},
        "start": 7,
        "end": 15,
        "lines": 1,
        "crc32": f"{zlib.crc32(b'one' + bytes([10]) + b'two' + bytes([10])):08x}",
    }


def test_an_envelope_says_when_its_lines_are_not_the_sources_bytes() -> None:
    assert json.loads(header(segment(b"one\n", end=50), {}))["_fwd"]["changed"] is True


def test_raw_passes_bytes_and_closes_only_what_nobody_continues() -> None:
    assert raw(segment(b"\xff\x00\n")) == b"\xff\x00\n"
    assert raw(segment(b"x", is_unfinished=True)) == b"x\n"
    assert raw(segment(b"x", part=1, is_unfinished=True)) == b"x"
    assert body(segment(b"x", part=1, is_unfinished=True)) == b"x\n"
