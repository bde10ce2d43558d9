"""How long the oldest byte waits that was not accepted: the number that an alarm is set on."""

from __future__ import annotations

from pathlib import Path

import pytest

from log_forwarder.inputs.base import Span

from .tailing import Tail, append


def test_the_age_is_that_of_the_oldest_byte_that_was_not_accepted(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    tail = Tail(tmp_path)
    chunks = []
    moments = []
    for text in ("one\n", "two\n", "three\n"):  # read at once, accepted much later
        moments.append(tail.clock.monotonic())
        append(log, text)
        tail.finder.scan()
        tail.input.look()
        chunks += list(tail.input.chunks())
        tail.clock.advance(60)

    seen = [tail.input.unread_since()]
    for chunk in chunks:
        chunk.origin.keeper.keep([Span(chunk.origin, chunk.start, chunk.end, chunk.position, chunk.read_at)])
        seen.append(tail.input.unread_since())
    tail.stop()

    assert len(chunks) == 3
    assert seen == [*({"file": moment} for moment in moments), {}]


def test_a_file_that_cannot_be_read_ages_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    append(tmp_path / "logs" / "a.log", "one\n")
    tail = Tail(tmp_path)
    monkeypatch.setattr("log_forwarder.inputs.files.read", refuse)
    begin = tail.clock.monotonic()
    for _ in range(3):
        tail.look()
        tail.clock.advance(60)
    since = tail.input.unread_since()
    tail.stop()
    assert since == {"file": begin}


def test_what_was_there_before_we_were_is_as_old_as_its_last_change(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    append(log, "one\n")
    tail = Tail(tmp_path)
    ended_ns = log.stat().st_ctime_ns + 300 * 10**9  # we come back after five minutes
    tail.files._now_ns = lambda: ended_ns
    tail.finder.scan()
    tail.input.look()
    since = tail.input.unread_since()
    tail.stop()
    assert since["file"] == pytest.approx(tail.clock.monotonic() - 300)


def test_the_moments_that_are_remembered_are_bounded_and_no_age_is_understated(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    tail = Tail(tmp_path)
    begin = tail.clock.monotonic()
    for _ in range(200):
        append(log, "x\n")
        tail.finder.scan()
        tail.input.look()
        tail.clock.advance(10)
    (file,) = tail.known()
    assert len(file.growths) <= 16
    assert tail.input.unread_since() == {"file": begin}
    tail.stop()
