"""Half an upload is not a deploy: the marker, the settle time, the name of a deploy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dags_agent.listing import Listed
from dags_agent.note import read_note
from sidecar.errors import Transient

from .fakes import NOON, PREFIX, Agent, FakeSource, an_agent

ONE = {"a.py": b"V = 1\n", "lib/b.py": b"V = 1\n"}
TWO = {"a.py": b"V = 2\n", "lib/b.py": b"V = 2\n"}
MARKER = "_release.json"
DEEP = b"[" * 60_000
Start = Callable[..., Agent]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    source = FakeSource()
    source.set(ONE)
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(an_agent(tmp_path / "efs", source, **settings))


def marked(files: dict[str, bytes], deploy: str) -> dict[str, bytes]:
    return files | {MARKER: json.dumps({"id": deploy}).encode()}


async def test_nothing_is_published_before_the_marker_is_there(start: Start) -> None:
    agent = start(marker=MARKER)
    with pytest.raises(Transient, match="first upload is not complete"):
        await agent.cycle.sync()
    agent.source.set(marked(ONE, "v1"))
    await agent.cycle.sync()
    assert agent.files() == ONE  # the marker itself is no file of the release


async def test_files_that_changed_wait_until_the_marker_changes_too(start: Start) -> None:
    agent = start(marker=MARKER)
    agent.source.set(marked(ONE, "v1"))
    await agent.cycle.sync()
    agent.source.set(marked(ONE | {"a.py": TWO["a.py"]}, "v1"))  # half of the upload
    await agent.cycle.sync()
    await agent.cycle.sync()
    assert agent.files() == ONE
    assert agent.metric("waiting_for_upload") == 1
    agent.source.set(marked(TWO, "v2"))
    await agent.cycle.sync()
    assert agent.files() == TWO
    assert agent.metric("waiting_for_upload") == 0
    note = read_note(agent.target / "current")
    assert note is not None
    assert note.deploy == "v2"


async def test_files_listed_before_the_marker_was_there_are_listed_again(start: Start) -> None:
    agent = start(marker=MARKER)
    agent.source.set(marked(ONE, "v1"))
    await agent.cycle.sync()
    real = agent.source.list
    listings = 0

    async def pages_that_span_the_end_of_an_upload() -> Any:
        nonlocal listings
        listings += 1
        agent.source.set(marked(ONE if listings == 1 else TWO, "v2"))
        return await real()

    agent.source.list = pages_that_span_the_end_of_an_upload  # type: ignore[method-assign]  # S3's own races
    await agent.cycle.sync()
    assert agent.files() == TWO


async def test_the_same_files_announced_again_are_a_deploy_of_their_own(start: Start) -> None:
    agent = start(marker=MARKER)
    agent.source.set(marked(ONE, "v1"))
    await agent.cycle.sync()
    agent.source.opened.clear()
    agent.source.set(marked(ONE, "v2"))
    await agent.cycle.sync()
    note = read_note(agent.target / "current")
    assert note is not None
    assert (note.deploy, note.changed) == ("v2", 0)
    assert agent.source.opened == [f"{PREFIX}{MARKER}"]


def write_again(agent: Agent, at: datetime) -> None:
    """Let the marker be written again with the bytes that it has: only its time tells."""
    real = agent.source.list

    async def listed_later() -> list[Listed]:
        return [
            replace(item, last_modified=at) if item.key == f"{PREFIX}{MARKER}" else item
            for item in await real()
        ]

    agent.source.list = listed_later  # type: ignore[method-assign]  # the bucket's own clock


@pytest.mark.parametrize("publish", ["release", "in_place"])
async def test_a_marker_written_again_with_the_same_bytes_announces_a_deploy(
    start: Start, publish: str
) -> None:
    agent = start(marker=MARKER, publish=publish)
    read = agent.files if publish == "release" else lambda: {"a.py": (agent.target / "a.py").read_bytes()}
    agent.source.set(ONE | {MARKER: b""})
    await agent.cycle.sync()
    agent.source.set(TWO | {MARKER: b""})
    await agent.cycle.sync()
    assert read()["a.py"] == ONE["a.py"]
    write_again(agent, NOON + timedelta(minutes=1))
    await agent.cycle.sync()
    assert read()["a.py"] == TWO["a.py"]
    await agent.cycle.sync()
    assert agent.metric("releases_published_total") == 2


async def test_a_release_of_a_version_that_kept_no_marker_time_is_not_announced_by_the_update(
    start: Start,
) -> None:
    agent = start(marker=MARKER)
    agent.source.set(marked(ONE, "v1"))
    await agent.cycle.sync()
    for path in (agent.target / "current/.release.json", *(agent.target / "releases").glob("*.json")):
        path.write_text(path.read_text().replace(NOON.isoformat(), ""))
    agent.source.set(marked(ONE | {"a.py": TWO["a.py"]}, "v1"))  # half of an upload
    await start(marker=MARKER).cycle.sync()
    assert agent.files() == ONE


async def test_an_upload_whose_marker_never_comes_is_stale_in_the_end(start: Start) -> None:
    agent = start(marker=MARKER, stale_after_seconds=600)
    agent.source.set(marked(ONE, "v1"))
    await agent.cycle.sync()
    agent.source.set(marked(TWO, "v1"))
    await agent.cycle.tick()
    agent.clock.advance(599)
    await agent.cycle.tick()
    agent.clock.advance(1)
    with pytest.raises(Transient, match="the marker was not written since"):
        await agent.cycle.tick()
    assert not agent.runtime.health.ready()[0]
    agent.source.set(marked(TWO, "v2"))
    await agent.cycle.tick()
    assert agent.files() == TWO


async def test_a_marker_whose_bytes_are_not_its_own_names_no_deploy(start: Start) -> None:
    agent = start(marker=MARKER)
    agent.source.set(marked(ONE, "v1"))
    agent.source.in_transit = lambda key, content: (
        content.replace(b"v1", b"v2") if key.endswith(MARKER) else content
    )
    with pytest.raises(Transient, match="not the listed ones"):
        await agent.cycle.sync()
    assert not (agent.target / "current").exists()


async def test_damage_is_repaired_although_no_marker_changed(start: Start) -> None:
    agent = start(marker=MARKER)
    agent.source.set(marked(ONE, "v1"))
    await agent.cycle.sync()
    (agent.target / "current/a.py").write_bytes(b"V = 6\n")
    await agent.cycle.verify()
    await agent.cycle.sync()
    assert agent.files() == ONE


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'{"id": 7}', b'{"id": "a\\nb"}', b"x" * 70_000, DEEP]
)
async def test_any_object_may_be_the_marker(start: Start, body: bytes) -> None:
    agent = start(marker=MARKER)
    agent.source.set(ONE | {MARKER: body})
    await agent.cycle.sync()
    note = read_note(agent.target / "current")
    assert note is not None
    assert note.deploy == ""


async def test_an_upload_in_progress_is_waited_for_until_it_rests(start: Start) -> None:
    agent = start(settle_seconds=2)
    agent.source.set(ONE | {"lib/b.py": b"V = 0\n"})
    waited = agent.clock.wait
    looks = 0

    async def upload_while_it_waits(seconds: float, event: Any) -> bool:
        nonlocal looks
        looks += 1
        agent.source.set(ONE)
        return await waited(seconds, event)

    agent.clock.wait = upload_while_it_waits  # type: ignore[method-assign]  # the world goes on meanwhile
    await agent.cycle.sync()
    assert agent.files() == ONE
    assert agent.metric("releases_published_total") == 1


async def test_old_objects_are_not_waited_for(start: Start) -> None:
    agent = start(settle_seconds=2)
    agent.clock.advance(2)
    await agent.cycle.sync()
    assert agent.clock.waits == []
    assert agent.metric("listings_total") == 1


async def test_an_upload_that_never_rests_does_not_stop_releases_for_ever(start: Start) -> None:
    agent = start(settle_seconds=2)
    waited = agent.clock.wait
    count = 0

    async def one_more_each_time(seconds: float, event: Any) -> bool:
        nonlocal count
        count += 1
        agent.source.set(ONE | {"log.txt": b"%d" % count})
        return await waited(min(seconds, 0.01), event)

    agent.clock.wait = one_more_each_time  # type: ignore[method-assign]  # a log that somebody keeps there
    await agent.cycle.sync()
    assert agent.files().keys() == {*ONE, "log.txt"}


@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_skewed_clock_delays_a_release_by_the_settle_time_at_most(
    start: Start, skew: timedelta
) -> None:
    agent = start(settle_seconds=2)
    agent.clock._start = NOON + skew
    await agent.cycle.sync()
    assert agent.files() == ONE
    assert sum(agent.clock.waits) <= 2


async def test_the_note_says_what_a_release_is(start: Start) -> None:
    agent = start()
    await agent.cycle.sync()
    agent.source.set({"a.py": b"V = 22\n"})
    await agent.cycle.sync()
    document = json.loads((agent.target / "current/.release.json").read_bytes())
    assert document["id"] == agent.live()
    assert document["source"] == "s3://bucket/dags/"
    assert (document["files"], document["size_bytes"], document["changed"], document["deleted"]) == (
        1,
        7,
        1,
        1,
    )
    assert document["digest"].startswith("sha256:")
    assert document["published_at"].startswith("2026-01-01T12:00:00")
