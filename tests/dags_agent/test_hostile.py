"""Whatever the bucket holds: nothing leaves the target, nothing stops the rest, all of it is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dags_agent.errors import Archived, Reason, Refused, Skip
from dags_agent.listing import Listed
from sidecar.errors import ConfigError

from .fakes import NOON, PREFIX, Agent, FakeSource, an_agent, etag_of, listed, tree

GOOD = {"good.py": b"V = 1\n", "lib/good.py": b"V = 1\n"}
HOSTILE: dict[str, Skip | None] = {
    "../escaped.py": Skip.UNSAFE_KEY,
    "a/../../escaped.py": Skip.UNSAFE_KEY,
    "/absolute.py": Skip.UNSAFE_KEY,
    "a//b.py": Skip.UNSAFE_KEY,
    "./dot.py": Skip.UNSAFE_KEY,
    "a/./dot.py": Skip.UNSAFE_KEY,
    "..": Skip.UNSAFE_KEY,
    "folder-with-data/": Skip.UNSAFE_KEY,
    "x" * 256: Skip.UNSAFE_KEY,
    "\u00e9" * 128: Skip.UNSAFE_KEY,
    "new\nline.py": Skip.UNSAFE_KEY,
    "escape\x1b[31m.py": Skip.UNSAFE_KEY,
    "nul\0.py": Skip.UNSAFE_KEY,
    "surrogate\udcff.py": Skip.UNSAFE_KEY,
    ".nfs000000001": Skip.UNSAFE_KEY,
    "lib": Skip.KEY_CONFLICT,
    ".release.json": Skip.RESERVED_KEY,
    ".dags-agent/hold.json": Skip.RESERVED_KEY,
    "\u00e9.py": None,
    "e\u0301.py": None,
    "Good.py": None,
    "a" * 255: None,
    "d/" * 100 + "deep.py": None,
    "name with  spaces .py": None,
    "-rf": None,
    "$(reboot).py": None,
    "back\\slash.py": None,
    "'quote\".py": None,
    "empty.py": None,
    "\u202eyp.evil": None,
}


@pytest.fixture(params=["release", "in_place"])
def agent(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Agent]:
    with an_agent(tmp_path / "in/target", FakeSource(), publish=request.param) as agent:
        (tmp_path / "in").mkdir()
        yield agent


def published(agent: Agent) -> dict[str, bytes]:
    if agent.settings.publish == "release":
        return agent.files()
    return {path: text for path, text in tree(agent.target).items() if not path.startswith(".dags-agent")}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_no_key_escapes_the_target_nor_stops_the_rest(agent: Agent, tmp_path: Path) -> None:
    agent.source.set(GOOD | dict.fromkeys(HOSTILE, b"hostile") | {"empty.py": b""})
    await agent.cycle.sync()
    wanted = {key for key, skip in HOSTILE.items() if skip is None} | GOOD.keys()
    assert published(agent).keys() == wanted
    for skip in (Skip.UNSAFE_KEY, Skip.KEY_CONFLICT, Skip.RESERVED_KEY):
        expected = sum(found is skip for found in HOSTILE.values())
        assert agent.metric("skipped_objects", reason=skip) == expected
    assert names(tmp_path / "in") == {"target"}
    assert names(tmp_path) == {"in"}
    before = agent.metric("releases_published_total")
    await agent.cycle.sync()
    assert agent.metric("releases_published_total") == before


segments = st.sampled_from(["..", ".", "", "a", "a.py", "lib", "good.py", ".release.json", "\0", "~"])
keys = st.lists(segments, min_size=1, max_size=4).map("/".join) | st.text(max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(keys, max_size=6), publish=st.sampled_from(["release", "in_place"]))
async def test_any_keys_at_all_leave_the_good_one_published_and_nothing_outside(
    tmp_path: Path, keys: list[str], publish: str
) -> None:
    room = tmp_path / os.urandom(8).hex()
    room.mkdir()
    source = FakeSource()
    source.set(dict.fromkeys(keys, b"hostile") | {"good.sql": b"select 1"})
    with an_agent(room / "target", source, publish=publish, max_delete_fraction=1) as agent:
        await agent.cycle.sync()
        found = published(agent)
    swallowed = any(key.startswith("good.sql/") and key != "good.sql/" for key in keys)
    assert swallowed or found["good.sql"] == b"select 1"
    assert names(room) == {"target"}


async def test_one_unsafe_key_refuses_all_where_that_is_asked_for(tmp_path: Path) -> None:
    source = FakeSource()
    source.set(GOOD | {"../x": b""})
    with (
        an_agent(tmp_path / "efs", source, unsafe_keys="refuse") as agent,
        pytest.raises(Refused) as refused,
    ):
        await agent.cycle.sync()
    assert refused.value.reason is Reason.UNSAFE_KEY


async def test_an_object_that_was_archived_meanwhile_keeps_its_bytes_and_a_changed_one_is_left_out(
    agent: Agent,
) -> None:
    agent.source.set(GOOD | {"cold.sql": b"select 1", "gone.sql": b"select 2"})
    await agent.cycle.sync()

    async def with_archived() -> list[Listed]:
        return [
            *(listed(f"{PREFIX}{path}", content) for path, content in GOOD.items()),
            listed(f"{PREFIX}cold.sql", b"select 1", storage_class="GLACIER"),
            listed(f"{PREFIX}gone.sql", b"select 9", storage_class="DEEP_ARCHIVE"),
        ]

    agent.source.list = with_archived  # type: ignore[method-assign]  # a lifecycle rule came by
    await agent.cycle.sync()
    assert published(agent) == GOOD | {"cold.sql": b"select 1"}
    assert agent.metric("skipped_objects", reason="archived_object") == 1


async def test_objects_in_an_archive_tier_of_their_own_are_left_out_together_and_tried_again(
    agent: Agent,
) -> None:
    cold = {"cold.sql": b"select 1", "colder.sql": b"select 2"}
    agent.source.set(GOOD | cold)

    def archived(key: str) -> None:
        if "cold" in key:
            raise Archived(frozenset({(key, etag_of(agent.source.objects[key]))}))

    agent.source.on_open = archived
    await agent.cycle.sync()
    assert published(agent) == GOOD
    assert agent.metric("skipped_objects", reason="archived_object") == 2
    agent.source.on_open = lambda _key: None  # restored
    await agent.cycle.sync()
    assert published(agent) == GOOD
    agent.clock.advance(3600)
    await agent.cycle.sync()
    assert published(agent) == GOOD | cold


async def test_an_object_that_may_not_be_read_is_named_and_the_live_release_stays(agent: Agent) -> None:
    agent.source.set(GOOD)
    await agent.cycle.sync()

    def denied(key: str) -> None:
        if key.endswith("secret.py"):
            raise ConfigError(f"Cannot read key {key!r}", why="AccessDenied: kms:Decrypt")

    agent.source.on_open = denied
    agent.source.set(GOOD | {"secret.py": b"x = 1\n"})
    with pytest.raises(ConfigError, match="secret"):
        await agent.cycle.sync()
    assert published(agent) == GOOD


async def test_the_same_bytes_uploaded_again_are_no_release(agent: Agent) -> None:
    agent.source.set(GOOD)
    await agent.cycle.sync()
    real = agent.source.list

    async def uploaded_again() -> Any:
        return [
            Listed(
                key=item.key,
                size_bytes=item.size_bytes,
                etag=item.etag,
                last_modified=NOON + timedelta(hours=1),
                storage_class=item.storage_class,
            )
            for item in await real()
        ]

    agent.source.list = uploaded_again  # type: ignore[method-assign]  # by a deploy that changed nothing
    await agent.cycle.sync()
    assert agent.metric("releases_published_total") == 1


@pytest.mark.parametrize(
    ("publish", "name"),
    [
        *(("release", name) for name in ("", "building", "trash", "leases", "writer", "ahead")),
        *(("in_place", name) for name in ("", "building", "trash")),
    ],
)
async def test_an_own_directory_that_is_a_planted_link_is_refused_and_nothing_behind_it_is_touched(
    tmp_path: Path, publish: str, name: str
) -> None:
    victim, kept = tmp_path / "victim", tmp_path / "kept"
    (victim / "tree").mkdir(parents=True)
    (victim / "tree/precious.json").write_text("{}")
    source = FakeSource()
    source.set(GOOD)
    settings: dict[str, Any] = {"publish": publish, "keep_releases": 1, "keep_hours": 0}
    with an_agent(tmp_path / "efs", source, **settings) as agent:
        await agent.cycle.sync()
    planted = tmp_path / "efs/.dags-agent" / name
    planted.rename(kept)
    planted.symlink_to(victim, target_is_directory=True)
    source.set(GOOD | {"new.sql": b"select 3"})
    with an_agent(tmp_path / "efs", source, **settings) as agent:
        with pytest.raises(ConfigError, match="a symlink is in its place"):
            await agent.cycle.sync()
        assert "new.sql" not in published(agent)
    assert names(victim) == {"tree"}
    assert (victim / "tree/precious.json").exists()


async def test_links_made_ahead_that_are_a_planted_link_are_never_aligned_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious.py").write_text("x = 1")
    source = FakeSource()
    source.set(GOOD)
    with an_agent(tmp_path / "efs", source, wake=asyncio.Event()) as agent:
        for content in (b"select 3", b"select 4"):
            await agent.cycle.sync()
            ahead = tmp_path / "efs/.dags-agent/ahead" / agent.live()
            ahead.rename(tmp_path / f"kept-{content.decode()}")
            ahead.symlink_to(victim, target_is_directory=True)
            source.set(GOOD | {"new.sql": content})
        await agent.cycle.sync()
        assert published(agent) == GOOD | {"new.sql": b"select 4"}
    assert (victim / "precious.py").read_text() == "x = 1"
    assert names(victim) == {"precious.py"}
