"""Which lines stay, and which belong together."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from log_forwarder.transforms.level import LevelFilter
from log_forwarder.transforms.multiline import Joiner, Line

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


def numbered(texts: list[bytes]) -> list[Line]:
    """Place lines one after the other, as in a file."""
    lines, at = [], 0
    for text in texts:
        lines.append(Line(at, at + len(text) + 1, text))
        at += len(text) + 1
    return lines


def join(lines: list[Line], joiner: Joiner) -> list[Line]:
    """Return all events."""
    events = [event for line in lines if (event := joiner.add(line))]
    last = joiner.flush()
    return [*events, last] if last else events


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


def test_a_traceback_is_one_event() -> None:
    events = join(numbered([*TRACEBACK, TRACEBACK[0]]), Joiner())
    assert [event.text for event in events] == [b"\n".join(TRACEBACK), TRACEBACK[0]]


@given(some_lines)
def test_events_tile_their_lines_and_carry_every_byte(texts: list[bytes]) -> None:
    lines = numbered(texts)
    events = join(lines, Joiner())
    assert b"".join(event.text + b"\n" for event in events) == b"".join(text + b"\n" for text in texts)
    assert [event.start for event in events[1:]] == [event.end for event in events[:-1]]


@given(some_lines, st.integers(min_value=1, max_value=200), st.integers(min_value=1, max_value=5))
def test_an_event_is_bounded_in_bytes_and_lines(
    texts: list[bytes], limit_bytes: int, limit_lines: int
) -> None:
    events = join(numbered(texts), Joiner(limit_bytes=limit_bytes, limit_lines=limit_lines))
    longest = max(map(len, texts), default=0)
    assert all(len(event.text) <= max(limit_bytes, longest) for event in events)
    assert all(event.text.count(b"\n") < limit_lines for event in events)


@given(some_lines, st.integers(min_value=0, max_value=40))
def test_a_restart_at_any_event_joins_the_same_events_again(texts: list[bytes], event: int) -> None:
    lines = numbered(texts)
    events = join(lines, Joiner())
    event = min(event, len(events))
    begin = events[event].start if event < len(events) else lines[-1].end if lines else 0
    assert join([line for line in lines if line.start >= begin], Joiner()) == events[event:]


@given(some_lines)
def test_what_is_held_is_never_passed_by_an_offset(texts: list[bytes]) -> None:
    joiner, done_to = Joiner(), 0
    for line in numbered(texts):
        event = joiner.add(line)
        done_to = event.end if event else done_to
        assert joiner.holds_from == done_to
