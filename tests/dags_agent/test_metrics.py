"""What an operator's dashboard shows: age, latency, counts, durations; also after a restart."""

from __future__ import annotations

from pathlib import Path

from dags_agent.manifest import published_at

from .fakes import NOON, FakeSource, an_agent

ONE = {"a.py": b"V = 1\n", "b.py": b"V = 1\n", "c.py": b"V = 1\n"}


async def test_a_publish_is_counted_by_outcome_and_its_latency_is_from_s3_to_the_readers(
    tmp_path: Path,
) -> None:
    source = FakeSource()
    source.set(ONE)
    with an_agent(tmp_path / "efs", source) as agent:
        agent.clock.advance(7)
        await agent.cycle.sync()
        source.set({"a.py": b"V = 2\n", "b.py": b"V = 1\n"})
        await agent.cycle.sync()
        assert agent.metric("files_total", outcome="changed") == 4
        assert agent.metric("files_total", outcome="unchanged") == 1
        assert agent.metric("files_total", outcome="deleted") == 1
        assert agent.metric("publish_lag_seconds_count") == 2
        assert agent.metric("publish_lag_seconds_sum") >= 14
        assert agent.metric("source_newest_object_timestamp_seconds") == NOON.timestamp()
        assert agent.metric("releases") == 2
        assert agent.metric("release_info", release=agent.live()) == 1
        assert agent.metric("listing_seconds") >= 0
        assert agent.metric("fetch_seconds") >= 0


async def test_the_age_of_the_live_release_is_known_after_a_restart_and_after_a_no_op(tmp_path: Path) -> None:
    source = FakeSource()
    source.set(ONE)
    with an_agent(tmp_path / "efs", source) as agent:
        await agent.cycle.sync()
        live = agent.live()
    with an_agent(tmp_path / "efs", source) as restarted:
        restarted.clock.advance(3600)
        await restarted.cycle.sync()
        seconds = restarted.metric("release_published_timestamp_seconds")
    assert seconds == published_at(live).timestamp()
