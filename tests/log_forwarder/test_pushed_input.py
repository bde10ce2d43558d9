"""Pushed lines come out of the spool in order, once, with ranges that tile; also after a crash anywhere."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given, settings, strategies as st

from log_forwarder.inputs.base import Chunk, Range
from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.payloads import forward_payload, lines_payload
from log_forwarder.spool.records import encode
from log_forwarder.transforms.rules import Rules

from .forward_client import docker_message, docker_parts, packed_entries
from .pushing import MIB, Clock, Pushing, assert_tiled, lines

STDIN = StreamKey("stdin", "stdin", ())


def forward(*frames: bytes) -> bytes:
    return forward_payload(b"".join(frames))


def test_lines_of_one_container_are_one_source_with_its_identity(tmp_path: Path) -> None:
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(forward(docker_message("one"), docker_message("two")))
        (chunk,) = pushing.chunks()
        assert chunk.data == b"one\ntwo\n"
        assert (chunk.start, chunk.end) == (0, 8)
        assert chunk.origin.kind == "forward"
        assert chunk.origin.path == "forward:web-firelens-0123:stdout"
        assert chunk.origin.about["container_name"] == "web"
        assert chunk.origin.about["tag"] == "web-firelens-0123"
        assert chunk.origin.about["output"] == "stdout"
        assert len(str(chunk.origin.about["container_id"])) == 64


def test_keys_of_the_ecs_task_become_identity(tmp_path: Path) -> None:
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(forward(docker_message("x", ecs_cluster="prod", ecs_task_arn="arn:task/1")))
        (chunk,) = pushing.chunks()
        assert chunk.data == b"x\n"
        assert chunk.origin.about["ecs_cluster"] == "prod"
        assert chunk.origin.about["ecs_task_arn"] == "arn:task/1"


def test_a_record_with_more_than_a_line_is_a_line_of_json(tmp_path: Path) -> None:
    records: list[dict[str, object]] = [
        {"log": "x", "label": "l"},
        {"log": "a\nb"},
        {"n": [1, {"deep": 2.5}], "bad": b"\xff"},
        {},
    ]
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(forward(msgpack.packb(["t", packed_entries(records)])))
        (chunk,) = pushing.chunks()
        assert [json.loads(line) for line in lines([chunk])] == [
            {"label": "l", "log": "x"},
            {"log": "a\nb"},
            {"n": [1, {"deep": 2.5}], "bad": "\\xff"},
            {},
        ]


def test_what_cannot_be_understood_is_a_line_too(tmp_path: Path) -> None:
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(forward(msgpack.packb(["t", "no frame"])))
        (line,) = lines(pushing.chunks())
        assert "unreadable_forward_frame_base64" in json.loads(line)


def test_parts_are_joined_although_other_lines_come_between(tmp_path: Path) -> None:
    long = "x" * 40_000
    parts = docker_parts(long)
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(
            forward(docker_message("before"), parts[0], docker_message("other", container="db"))
        )
        early = pushing.chunks()
        pushing.spool.append(forward(parts[1], docker_parts("y" * 20_000, container="db")[0]))
        pushing.spool.append(forward(parts[2], docker_message("after")))
        chunks = [*early, *pushing.chunks()]
        by_container: dict[object, list[bytes]] = defaultdict(list)
        for chunk in chunks:
            by_container[chunk.origin.about["container_name"]] += lines([chunk])
        assert by_container == {"web": [b"before", long.encode(), b"after"], "db": [b"other"]}
        assert_tiled(chunks)


def test_a_part_whose_end_never_comes_is_handed_on_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    with Pushing(tmp_path, monotonic=clock) as pushing:
        pushing.spool.append(forward(docker_parts("z" * 40_000)[0]))
        assert pushing.chunks() == []
        assert not pushing.input.is_finished
        clock.now += 6
        clock_chunks = pushing.chunks()
        assert [len(line) for line in lines(clock_chunks)] == [16_384]


def test_the_next_whole_line_ends_a_part_that_lost_its_end(tmp_path: Path) -> None:
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(forward(docker_parts("z" * 40_000)[0], docker_message("next")))
        assert [len(line) for line in lines(pushing.chunks())] == [16_384, 4]


def test_a_line_longer_than_a_chunk_comes_in_numbered_parts(tmp_path: Path) -> None:
    line = ("é" * 700_000).encode()
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(lines_payload(STDIN, b"short\n" + line + b"\nlast"))
        chunks = pushing.chunks()
        assert b"".join(chunk.data for chunk in chunks) == b"short\n" + line + b"\nlast\n"
        assert [(chunk.part, chunk.is_unfinished) for chunk in chunks] == [
            (0, False),
            (1, True),
            (2, False),
            (0, False),
        ]
        assert all(chunk.data.decode() for chunk in chunks)
        assert_tiled(chunks)


def test_accepted_records_are_deleted_and_the_rest_is_kept(tmp_path: Path) -> None:
    with Pushing(tmp_path, budget_bytes=2 * MIB, limit_bytes=150_000) as pushing:
        for number in range(12):
            pushing.spool.append(lines_payload(STDIN, b"%x" % number * 100_000))
        chunks = pushing.chunks()
        pushing.accept(chunks[:8])
        pushing.chunks()
        held_bytes = pushing.spool.held_bytes
        assert 400_000 <= held_bytes < 900_000
        assert pushing.input.lag_bytes() >= 400_000
        pushing.accept(chunks[8:])
        pushing.chunks()
        assert pushing.input.lag_bytes() == 0
        assert pushing.spool.held_bytes < held_bytes


def test_a_planned_range_is_cut_the_same_way_again(tmp_path: Path) -> None:
    with Pushing(tmp_path) as pushing:
        pushing.spool.append(forward(*[docker_message(f"line {n}") for n in range(10)]))
        pushing.spool.append(lines_payload(STDIN, b"x" * 2 * MIB))
        pushing.spool.append(forward(*[docker_message(f"line {n}") for n in range(10, 20)]))
        before = pushing.chunks()
    with Pushing(tmp_path) as pushing:
        wanted = [Range(c.origin.source, c.start, c.end, c.part, c.is_unfinished) for c in before]
        again = [pushing.input.again(one) for one in wanted]
        assert [(c.data, c.start, c.end) for c in again if c] == [(c.data, c.start, c.end) for c in before]
        assert pushing.input.again(wanted[0]) is None
        assert pushing.chunks() == []


def test_a_traceback_waits_for_its_end_and_no_longer(tmp_path: Path) -> None:
    clock = Clock()
    with Pushing(tmp_path, monotonic=clock, rules=Rules(joins=True)) as pushing:
        pushing.spool.append(forward(docker_message("[x] broke"), docker_message("  line 1")))
        assert pushing.chunks() == []
        clock.now += 0.4
        pushing.spool.append(forward(docker_message("  line 2")))
        assert pushing.chunks() == []
        clock.now += 0.6
        (line,) = lines(pushing.chunks())
        assert json.loads(line) == {"message": "[x] broke\n  line 1\n  line 2"}
        assert pushing.input.is_finished


def test_a_state_directory_has_sources_of_its_own(tmp_path: Path) -> None:
    sources = set()
    for name in ("one", "two"):
        with Pushing(tmp_path / name) as pushing:
            pushing.spool.append(forward(docker_message("x")))
            sources.add(pushing.chunks()[0].origin.source)
    assert len(sources) == 2


payloads = st.lists(
    st.one_of(
        st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=20)), min_size=1, max_size=5).map(
            lambda told: forward(*[docker_message(text, container=name) for name, text in told])
        ),
        st.tuples(st.sampled_from("ab"), st.integers(40, 120)).map(
            lambda told: forward(*docker_parts("p" * told[1], container=told[0], size=30))
        ),
        st.binary(min_size=1, max_size=150).map(lambda data: lines_payload(STDIN, data)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(payloads, st.lists(st.integers(0, 6), max_size=6), st.integers(10, 100))
def test_a_crash_at_any_step_loses_nothing_and_repeats_only_what_was_not_accepted(
    contents: list[bytes], accepted: list[int], limit_bytes: int
) -> None:
    """Each round accepts some chunks, then everything in memory is gone; the last round accepts all."""
    with TemporaryDirectory() as directory:
        expected = collect_whole(Path(directory) / "whole", contents, limit_bytes)
        crashing = Path(directory) / "crashing"
        got: dict[str, bytes] = defaultdict(bytes)
        for count in [*accepted, 10_000]:
            with Pushing(crashing, limit_bytes=limit_bytes) as pushing:
                for content in contents:
                    pushing.spool.append(content)
                contents = []
                for chunk in all_chunks(pushing)[:count]:
                    pushing.accept([chunk])
                    source = f"{chunk.origin.path} {chunk.origin.about.get('container_name')}"
                    assert chunk.start == len(got[source]), "a gap or a repetition"
                    got[source] += chunk.data
        assert got == expected


def all_chunks(pushing: Pushing) -> list[Chunk]:
    first = pushing.chunks()
    pushing.input.begin_to_finish()
    return [*first, *pushing.chunks()]


def collect_whole(directory: Path, contents: list[bytes], limit_bytes: int) -> dict[str, bytes]:
    """Return what each source holds when nothing goes wrong."""
    whole: dict[str, bytes] = defaultdict(bytes)
    with Pushing(directory, limit_bytes=limit_bytes) as pushing:
        for content in contents:
            pushing.spool.append(content)
        for chunk in all_chunks(pushing):
            whole[f"{chunk.origin.path} {chunk.origin.about.get('container_name')}"] += chunk.data
    shutil.rmtree(directory)
    return whole


def test_damage_is_told_and_what_is_left_is_handed_out(tmp_path: Path) -> None:
    with Pushing(tmp_path, budget_bytes=2 * MIB) as pushing:
        for number in range(8):
            pushing.spool.append(lines_payload(STDIN, b"%d" % number * 100_000))
        first = min((tmp_path / "spool").iterdir())
    with first.open("r+b") as file:
        file.seek(30)
        file.write(b"?")
    with Pushing(tmp_path, budget_bytes=2 * MIB) as pushing:
        assert lines(pushing.chunks()) == [b"%d" % number * 100_000 for number in range(1, 8)]
        assert pushing.told.damaged == [len(encode(lines_payload(STDIN, b"0" * 100_000)))]


@pytest.mark.parametrize("count", [5000])
def test_the_number_of_remembered_streams_is_bounded(tmp_path: Path, count: int) -> None:
    with Pushing(tmp_path, budget_bytes=2 * MIB) as pushing:
        for at in range(0, count, 1000):
            pushing.spool.append(
                forward(*[docker_message("x", container=f"c{n}") for n in range(at, at + 1000)])
            )
            pushing.accept(pushing.chunks())
            pushing.spool.append(lines_payload(STDIN, b"y" * 400_000))
            pushing.accept(pushing.chunks())
        pushing.chunks()
        assert len(pushing.input._streams) <= 4096 + 1000
