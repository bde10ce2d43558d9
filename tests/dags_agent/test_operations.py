"""What a pass costs, in requests to S3 and round trips to the file system: no clock can blur that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.testing.fake_clock import FakeClock

from .fakes import PREFIX, Agent, FakeSource, an_agent
from .round_trips import RoundTrips
from .s3_clients import connected
from .s3_server import StubBucket

FILES = {f"team{number % 20}/dag{number}.py": b"V = 1\n" for number in range(400)}
DIRECTORIES = 20
# What a release costs whatever its size: its own directory, manifest, note, lease, pointer and records.
FIXED_WRITES = 50
FIXED_READS = 60


@pytest.fixture
def clock() -> FakeClock:
    """The time of day, because files get theirs from the file system."""
    return FakeClock(start=datetime.now(UTC))  # noqa: TID251 - see above


@pytest.fixture
def agent(tmp_path: Path, clock: FakeClock) -> Iterator[Agent]:
    source = FakeSource()
    source.set(FILES)
    with ExitStack() as stack:
        yield stack.enter_context(an_agent(tmp_path / "efs", source, clock=clock))


@pytest.fixture
def trips(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> RoundTrips:
    return RoundTrips(agent.target, monkeypatch)


async def test_a_first_release_costs_two_writes_a_file_and_one_a_directory(
    agent: Agent, trips: RoundTrips
) -> None:
    trips.begin()
    await agent.cycle.sync()
    assert trips.writes <= 2 * len(FILES) + DIRECTORIES + FIXED_WRITES, str(trips)
    assert trips.reads <= len(FILES) + FIXED_READS, str(trips)
    assert len(agent.source.opened) == len(FILES)


async def test_a_pass_that_changes_nothing_writes_nothing_and_reads_twice(
    agent: Agent, trips: RoundTrips
) -> None:
    await agent.cycle.sync()
    await agent.cycle.sync()
    trips.begin()
    await agent.cycle.sync()
    assert (trips.writes, trips.reads <= 2) == (0, True), str(trips)


async def test_a_change_costs_a_link_a_file_and_a_read_a_directory(agent: Agent, trips: RoundTrips) -> None:
    await agent.cycle.sync()
    agent.source.set(FILES | {"team3/dag3.py": b"V = 2\n"})
    agent.clock.advance(60)
    trips.begin()
    await agent.cycle.sync()
    assert trips.writes <= len(FILES) + DIRECTORIES + FIXED_WRITES, str(trips)
    assert trips.reads <= DIRECTORIES + FIXED_READS, str(trips)
    assert agent.source.opened.count("dags/team3/dag3.py") == 2
    assert len(agent.source.opened) == len(FILES) + 1


@pytest.mark.parametrize("client", ["native", "botocore"])
async def test_a_pass_that_changes_nothing_lists_a_page_per_thousand_keys_and_asks_no_object(
    tmp_path: Path, bucket: StubBucket, client: str
) -> None:
    bucket.set_up(seed={"files": 2500, "directories": 10, "prefix": PREFIX})
    async with connected(bucket.name, client) as source:  # type: ignore[arg-type]  # one of the two
        with an_agent(tmp_path / "efs", source, max_concurrency=16) as agent:  # type: ignore[arg-type]  # a real one
            await agent.cycle.sync()
            bucket.set_up(reset_counts=True)
            await agent.cycle.sync()
            assert bucket.counts() == {"list": 3}
