"""Each line can be got back exactly from its envelope, whatever its bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from log_forwarder.airflow_path import identify
from log_forwarder.batching import MAX_RECORD_BYTES
from log_forwarder.envelope import JSON_PIECE_BYTES, RAW_PIECE_BYTES, JsonLines, raw_lines
from log_forwarder.framing import Piece

TASK_LOG = "/opt/airflow/logs/dag_id=etl/run_id=scheduled__2026-01-01T00:00:00+00:00/task_id=load/map_index=2"


def whole(text: bytes, start: int = 0) -> Piece:
    return Piece(start, start + len(text) + 1, text, part=0, is_last=True, is_terminated=True)


def encode(piece: Piece, path: str = "/logs/a.log", **ecs: str) -> dict[str, Any]:
    line = JsonLines(source="5ca1ab1e", path=path, ecs=ecs)(piece)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    document = json.loads(line)
    assert isinstance(document, dict)
    return document


def line_of(envelope: bytes) -> bytes:
    document = json.loads(envelope)
    if "log" in document:
        return envelope.split(b',"log":', 1)[1][: -len(b"}\n")]
    if "message" in document:
        return str(document["message"]).encode()
    return base64.b64decode(document["message_base64"])


json_objects = st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=4)
json_texts = json_objects.map(lambda value: json.dumps(value).encode())


@given(st.binary().filter(lambda text: b"\n" not in text) | json_texts)
def test_the_bytes_of_a_line_can_be_got_back(text: bytes) -> None:
    assert line_of(JsonLines(source="5ca1ab1e", path="/logs/a.log", ecs={})(whole(text))) == text


def test_a_json_line_is_nested_and_can_be_queried() -> None:
    envelope = encode(whole(b'{"event":"done","level":"info"}'))

    assert envelope["log"] == {"event": "done", "level": "info"}


@pytest.mark.parametrize("text", [b'{"a":NaN}', b"{not json}", b"[1]", b'"s"', b"", b"{" * 100_000])
def test_what_is_not_a_json_object_is_a_message(text: bytes) -> None:
    assert encode(whole(text))["message"] == text.decode()


def test_a_task_is_identified_by_its_path_also_for_a_line_that_carries_nothing() -> None:
    envelope = encode(whole(b"printed"), path=f"{TASK_LOG}/attempt=3.log")

    assert envelope["dag_id"] == "etl"
    assert envelope["run_id"] == "scheduled__2026-01-01T00:00:00+00:00"
    assert (envelope["task_id"], envelope["map_index"], envelope["attempt"]) == ("load", 2, 3)


def test_a_triggerers_log_belongs_to_the_attempt_it_continues() -> None:
    assert identify(f"{TASK_LOG}/attempt=3.log.trigger.77.log")["attempt"] == 3


def test_a_path_that_names_no_task_gives_no_identity() -> None:
    assert identify("/opt/airflow/logs/dag_processor/2026-01-01/dags-folder/a.py.log") == {}


def test_ecs_facts_are_left_out_when_there_are_none() -> None:
    assert "ecs" not in encode(whole(b"x"))
    assert encode(whole(b"x"), cluster="c")["ecs"] == {"cluster": "c"}


def test_ids_name_the_source_and_the_bytes() -> None:
    assert encode(whole(b"abc", start=7))["id"] == "5ca1ab1e.7-11"


def test_a_part_and_a_flushed_tail_say_what_they_are() -> None:
    part = encode(Piece(0, 3, b"abc", part=1, is_last=False, is_terminated=False))
    tail = encode(Piece(0, 3, b"abc", part=0, is_last=True, is_terminated=False))

    assert (part["part"], part["is_last_part"], "unterminated" in part) == (1, False, False)
    assert (tail["unterminated"], "part" in tail) == (True, False)


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"a", b'"'])
def test_the_longest_piece_fits_a_record_however_it_must_be_spelled(byte: bytes) -> None:
    deepest = "/" + "/".join(["\x01" * 255] * 16)
    line = JsonLines(source="5ca1ab1e", path=deepest[:4096], ecs={})(whole(byte * JSON_PIECE_BYTES))

    assert len(line) <= MAX_RECORD_BYTES
    assert line_of(line) == byte * JSON_PIECE_BYTES


def test_raw_passes_bytes_and_fills_a_record() -> None:
    assert raw_lines(whole(b"\xff\x00")) == b"\xff\x00\n"
    assert raw_lines(Piece(0, 1, b"x", part=1, is_last=False, is_terminated=False)) == b"x"
    assert len(raw_lines(whole(b"x" * RAW_PIECE_BYTES))) == MAX_RECORD_BYTES
