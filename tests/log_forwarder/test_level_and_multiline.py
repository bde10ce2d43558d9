"""Which lines stay, and which belong together."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, strategies as st

from log_forwarder.transforms import multiline
from log_forwarder.transforms.level import LevelFilter
from log_forwarder.transforms.multiline import complete_events, events
from log_forwarder.transforms.rules import Rules

TRACEBACK = [
    b"2026-11-22T09:26:56.804580Z [error    ] it broke [airflow.jobs]",
    b"Traceback (most recent call last):",
    b'  File "a.py", line 1, in <module>',
    b"ValueError: x",
]
some_lines = st.lists(
    st.sampled_from(
        [*TRACEBACK, b"", b"[2026-11-22 09:00:00 +0000] [1] [INFO] Booting", b'{"event":"x"}', b"  ____  "]
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        (b'{"timestamp":"t","level":"debug","event":"x"}', False),
        (b'{"timestamp":"t","level":"info","event":"x"}', False),
        (b'{"timestamp":"t","level": "WARNING","event":"x"}', True),
        (b'{"event":"print has no level"}', True),
        (b'{"event":"\\"level\\":\\"debug\\""}', True),
        (b'{"detail":{"level":"debug"},"level":"error"}', True),
        (b'{"level":"debug" broken', True),
        (b'{"level":"loud"}', True),
        (b"2026-11-22T09:26:56.804580Z [info     ] Loaded [x]", False),
        (b"2026-11-22T09:26:56.804580Z [\x1b[32minfo     \x1b[0m] Loaded", False),
        (b"2026-11-22T09:26:56.804580Z [error    ] Broken [x]", True),
        (b"Traceback (most recent call last):", True),
        (b"", True),
    ],
)
def test_only_what_is_certainly_below_the_level_is_left_out(line: bytes, stays: bool) -> None:
    assert LevelFilter("warning").keeps(line) is stays


@given(st.binary(max_size=200))
def test_no_bytes_break_the_filter(line: bytes) -> None:
    LevelFilter("critical").keeps(line)
    LevelFilter("critical").keeps(b"{" + line)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), st.sampled_from(["error", "critical"]))
def test_a_line_at_or_above_the_level_always_stays(others: dict[str, str], level: str) -> None:
    line = json.dumps({**others, "level": level}).encode()
    assert LevelFilter("error").keeps(line)


def block(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def test_a_traceback_is_one_event_with_its_newlines_inside() -> None:
    data = block([*TRACEBACK, TRACEBACK[0]])
    first, second = Rules(joins=True).apply(data).splitlines()
    assert json.loads(first) == {"message": b"\n".join(TRACEBACK).decode()}
    assert second == TRACEBACK[0]


def test_the_last_event_waits_for_the_next_one_to_begin() -> None:
    rules, first = Rules(joins=True), block(TRACEBACK)
    assert rules.complete(first) == 0
    assert rules.complete(first + b"2026-11-22T09:26:57Z [info] nex") == 0
    assert rules.complete(first + b"2026-11-22T09:26:57Z [info] next\n") == len(first)


def test_a_traceback_leaves_with_the_line_it_belongs_to() -> None:
    left_out: list[int] = []
    rules = Rules(joins=True, lowest_level="critical", on_left_out=left_out.append)
    assert rules.apply(block([*TRACEBACK, b"no level"])) == b""
    assert rules.apply(b"[x] no level\n") == b"[x] no level\n"
    assert left_out == [len(TRACEBACK) + 1]


def test_text_that_is_not_utf8_is_joined_without_loss() -> None:
    (line,) = Rules(joins=True).apply(b"[head]\n\xff\xfe\n").splitlines()
    assert base64.b64decode(json.loads(line)["message_base64"]) == b"[head]\n\xff\xfe"


@given(some_lines)
def test_events_carry_every_line_in_order(lines: list[bytes]) -> None:
    assert [line for event in events(lines) for line in event] == lines


@given(some_lines, st.integers(min_value=1, max_value=200))
def test_an_event_is_bounded(lines: list[bytes], limit_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiline, "MAX_EVENT_BYTES", limit_bytes)
        found = list(events(lines))
        data = block(lines)
        assert complete_events(data) == len(data) or len(data) - complete_events(data) <= limit_bytes + 100
    assert all(len(b"\n".join(event)) <= limit_bytes or len(event) == 1 for event in found)


@given(some_lines, st.data())
def test_events_are_the_same_however_the_bytes_arrive(lines: list[bytes], data: st.DataObject) -> None:
    rules, stream = Rules(joins=True), block(lines)
    cuts = data.draw(st.lists(st.integers(min_value=0, max_value=len(stream)), max_size=6).map(sorted))
    joined, at = [], 0
    for end in [*cuts, len(stream)]:
        taken = rules.complete(stream[at:end])
        joined.append(rules.apply(stream[at : at + taken]) if taken else b"")
        at += taken
    joined.append(rules.apply(stream[at:]) if stream[at:] else b"")
    assert b"".join(joined) == (rules.apply(stream) if stream else b"")


@given(some_lines)
def test_without_options_nothing_changes(lines: list[bytes]) -> None:
    data = block(lines)
    assert Rules().apply(data) == data
    assert Rules(redacts=True, lowest_level="debug").apply(data) == data
    assert Rules().complete(data + b"unfinished") == len(data)


def test_what_was_masked_is_counted() -> None:
    masked: list[int] = []
    rules = Rules(redacts=True, on_redacted=masked.append)
    assert rules.apply(b"password=hunter2\nand token=abcdef\n") == b"password=***\nand token=***\n"
    assert masked == [2]
