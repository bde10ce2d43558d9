"""Containers of an engine are followed without loss and without repetition.

What only a real engine can show (its own log rotation, its timing) is in the container tests.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from log_forwarder.inputs.docker import DockerFeeder
from log_forwarder.inputs.docker_engine import Container as Facts, Engine
from log_forwarder.inputs.docker_log import DockerLog, DockerLogError, LogLine, Mark, Name
from log_forwarder.inputs.docker_marks import DockerMarks
from sidecar.testing.waiting import wait_until

from .fake_engine import Container, FakeEngine, encode, serve
from .pushing import Pushing

LABEL = {"logs.forward": "true"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with serve(tmp_path) as fake:
        yield fake


class Following:
    """A spool that containers are followed into."""

    def __init__(self, state: Path, url: str, *, own_hostname: str = "") -> None:
        self.pushing = Pushing(
            state,
            feeders=lambda pushing: [
                DockerFeeder(
                    Engine(url, ["logs.forward=true"]),
                    marks=DockerMarks(pushing.state, pushing.spool),
                    writer=pushing.writer,
                    listener=pushing.told,
                    own_hostname=own_hostname,
                )
            ],
        )
        self.got: dict[str, bytes] = {}

    def lines(self, name: str, stream: str = "stdout") -> list[bytes]:
        """Return what came from a container so far."""
        for chunk in self.pushing.chunks():
            self.got[chunk.origin.path] = self.got.get(chunk.origin.path, b"") + chunk.data
            self.pushing.accept([chunk])
        return self.got.get(f"docker:{name}:{stream}", b"").splitlines()

    def has(self, name: str, lines: list[bytes], stream: str = "stdout") -> None:
        wait_until(lambda: len(self.lines(name, stream)) >= len(lines), f"{len(lines)} lines of {name}")
        assert self.lines(name, stream) == lines


@contextmanager
def following(state: Path, url: str, *, own_hostname: str = "") -> Iterator[Following]:
    made = Following(state, url, own_hostname=own_hostname)
    try:
        yield made
    finally:
        made.pushing.close()


def test_labels_choose_containers_and_streams_are_told_apart(tmp_path: Path, engine: FakeEngine) -> None:
    web, other = engine.run("web", labels=LABEL), engine.run("other")
    engine.write(web, b"out 1\nout 2\n")
    engine.write(web, b"err 1\n", stream=2)
    engine.write(other, b"not wanted\n")
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("web", [b"out 1", b"out 2"])
        follow.has("web", [b"err 1"], "stderr")
        engine.write(web, b"out 3\n")
        follow.has("web", [b"out 1", b"out 2", b"out 3"])
        assert set(follow.got) == {"docker:web:stdout", "docker:web:stderr"}


def test_a_container_that_starts_later_is_followed_to_its_end_although_it_is_removed(
    tmp_path: Path, engine: FakeEngine
) -> None:
    with following(tmp_path / "state", engine.url) as follow:
        first = engine.run("first", labels=LABEL)
        engine.write(first, b"here\n")
        follow.has("first", [b"here"])
        short = engine.run("short", labels=LABEL)
        engine.write(short, b"a\nb\nlast words")
        wait_until(lambda: "following short" in follow.pushing.told.docker, "it is followed")
        follow.has("short", [b"a", b"b"])
        engine.stop(short, removes=True)
        follow.has("short", [b"a", b"b", b"last words"])


def test_with_a_terminal_there_is_one_stream_and_no_header(tmp_path: Path, engine: FakeEngine) -> None:
    tty = engine.run("tty", has_terminal=True, labels=LABEL)
    engine.write(tty, b"one\ntwo\n")
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("tty", [b"one", b"two"])


def test_a_line_that_the_engine_cut_is_whole_again(tmp_path: Path, engine: FakeEngine) -> None:
    web = engine.run("web", labels=LABEL)
    engine.write(web, b"x" * 40_000 + b"\nnext\n")
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("web", [b"x" * 40_000, b"next"])


def test_a_connection_that_breaks_in_a_message_loses_and_repeats_nothing(
    tmp_path: Path, engine: FakeEngine
) -> None:
    web = engine.run("web", labels=LABEL)
    lines = [b"%d" % number for number in range(20)]
    engine.write(web, b"\n".join(lines) + b"\n", advance_ns=0)
    engine.cut_after_messages = 7
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("web", lines)
        assert len(engine.log_requests) == 2


def test_a_restart_goes_on_where_the_last_process_was(tmp_path: Path, engine: FakeEngine) -> None:
    web = engine.run("web", labels=LABEL)
    engine.write(web, b"1\n2\n")
    engine.write(web, b"3\n", advance_ns=0)
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("web", [b"1", b"2", b"3"])
    engine.write(web, b"4\n", advance_ns=0)
    engine.write(web, b"5\n")
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("web", [b"4", b"5"])


def test_a_crash_before_the_mark_was_kept_repeats_nothing(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = engine.run("web", labels=LABEL)
    engine.write(web, b"1\n2\n")
    monkeypatch.setattr(DockerMarks, "keep", lambda *_: None)
    with following(tmp_path / "state", engine.url) as follow:
        wait_until(lambda: follow.pushing.spool.end > 0, "spooled")
    monkeypatch.undo()
    engine.write(web, b"3\n")
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("web", [b"1", b"2", b"3"])


def test_an_engine_that_is_away_is_told_once_and_asked_again(tmp_path: Path) -> None:
    url = f"unix://{tmp_path / 'docker.sock'}"
    with following(tmp_path / "state", url) as follow:
        wait_until(lambda: follow.pushing.told.docker, "told")
        with serve(tmp_path) as engine:
            web = engine.run("web", labels=LABEL)
            engine.write(web, b"here\n")
            follow.has("web", [b"here"])
        assert len([why for why in follow.pushing.told.docker if "no answer" in why]) == 1


def test_at_the_end_what_each_log_holds_is_fetched(tmp_path: Path, engine: FakeEngine) -> None:
    web = engine.run("web", labels=LABEL)
    engine.write(web, b"1\n")
    with following(tmp_path / "state", engine.url) as follow:
        follow.has("web", [b"1"])
        engine.write(web, b"2\n")
        follow.pushing.input.begin_to_finish()
        wait_until(lambda: follow.pushing.feeders[0].is_finished, "the last look is over")
        follow.has("web", [b"1", b"2"])
        assert follow.pushing.input.is_finished


def test_our_own_container_is_not_followed(tmp_path: Path, engine: FakeEngine) -> None:
    ours, web = engine.run("forwarder", labels=LABEL), engine.run("web", labels=LABEL)
    engine.write(ours, b"about myself\n")
    engine.write(web, b"x\n")
    with following(tmp_path / "state", engine.url, own_hostname=ours.id) as follow:
        follow.has("web", [b"x"])
        assert "docker:forwarder:stdout" not in follow.got


messages = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),
        st.sampled_from([0, 1, 5]),
        st.sampled_from([b"a\n", b"part", b"end\n", b"\n"]),
    ),
    max_size=20,
)


@given(messages, st.data())
def test_a_log_read_in_two_goes_is_the_log_read_in_one(
    told: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    """Wherever the first reader dies, the second goes on from the marks of the last lines it gave."""
    container, now = Container(id="c", name="c", labels={}), 1_700_000_000_000_000_000
    encoded = []
    for stream, advance, text in told:
        now += advance
        encoded.append(encode(container, stream, now, text))
    raw = b"".join(encoded)
    cut = data.draw(st.integers(min_value=0, max_value=len(raw)))

    whole = list(DockerLog(has_terminal=False, marks={}).feed(raw))
    first = list(DockerLog(has_terminal=False, marks={}).feed(raw[:cut]))
    marks: dict[Name, Mark] = {line.stream: line.mark for line in first}
    second = list(DockerLog(has_terminal=False, marks=marks).feed(raw))

    for name in ("stdout", "stderr"):
        both = [line.text for line in [*first, *second] if line.stream == name]
        assert both == [line.text for line in whole if line.stream == name]


@given(messages, st.lists(st.integers(min_value=0, max_value=500), max_size=5))
def test_lines_are_the_same_however_the_bytes_arrive(
    told: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    container = Container(id="c", name="c", labels={})
    raw = b"".join(
        encode(container, stream, 1_700_000_000_000_000_000 + number, text)
        for number, (stream, _, text) in enumerate(told)
    )
    log, found, at = DockerLog(has_terminal=False, marks={}), list[LogLine](), 0
    for cut in [*sorted(cuts), len(raw)]:
        found += log.feed(raw[at:cut])
        at = max(at, cut)
    assert found == list(DockerLog(has_terminal=False, marks={}).feed(raw))


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 500\r\n", b"\x01\x00\x00\x00\x00\x00\x00\x04oops", b"\x01\x00\x00\x00\xff\xff\xff\xff"],
)
def test_what_is_no_log_is_said_so(garbage: bytes) -> None:
    with pytest.raises(DockerLogError):
        list(DockerLog(has_terminal=False, marks={}).feed(garbage))


class Restarting:
    """An engine that tells starts on order; a container's first log ends only when it is let go."""

    def __init__(self) -> None:
        self.told: queue.Queue[str | None] = queue.Queue()
        self.taken: Counter[str] = Counter()
        self.may_end = threading.Event()

    def starts(self) -> Iterator[str]:
        return iter(self.told.get, None)

    def containers(self) -> list[str]:
        return []

    def look(self, container: str) -> Facts:
        return Facts(id=container, name=container, image="", service="", has_terminal=False)

    def log(self, container: str, _marks: object, *, follows: bool) -> Iterator[bytes]:
        assert follows
        self.taken[container] += 1
        if self.taken[container] == 1:
            self.may_end.wait(20)
        yield from ()


def test_a_container_that_starts_again_while_its_follower_is_busy_is_followed_again(tmp_path: Path) -> None:
    engine = Restarting()
    with Pushing(tmp_path / "state") as pushing:
        feeder = DockerFeeder(
            cast("Any", engine),
            marks=DockerMarks(pushing.state, pushing.spool),
            writer=pushing.writer,
            listener=pushing.told,
            own_hostname="",
        )
        for container in ("web", "web", "other"):
            engine.told.put(container)
            wait_until(lambda: engine.taken[container], f"{container} is followed")  # noqa: B023 - called at once
        assert engine.taken["web"] == 1
        engine.may_end.set()
        wait_until(lambda: engine.taken["web"] == 2, "its new log is taken")
        feeder.close()
        engine.told.put(None)
