"""What readers see is hashed from time to time; what drifted is repaired and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dags_agent.disk import read_manifest
from dags_agent.layout import Layout
from dags_agent.verify import Verifier
from sidecar.clock import Stop
from sidecar.testing.fake_clock import FakeClock

from .fakes import Agent, FakeSource, an_agent

FILES = {"a.py": b"V = 1\n", "lib/b.py": b"V = 1\n", "c.sql": b"select 1"}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    source = FakeSource()
    source.set(FILES)
    with an_agent(tmp_path / "efs", source) as agent:
        yield agent


def plant_link_to_directory(root: Path) -> None:
    (root / "planted").symlink_to("/etc")


def plant_link_over_file(root: Path) -> None:
    (root / "a.py").unlink()
    (root / "a.py").symlink_to("lib/b.py")


def swap_directory_for_link(root: Path) -> None:
    (root / "lib").rename(root.parent.parent / "lib-moved")
    (root / "lib").symlink_to(root.parent.parent / "lib-moved")


def has_drift(agent: Agent) -> bool:
    return agent.cycle.has_drift


@pytest.mark.parametrize(
    ("drift", "kind"),
    [
        (lambda root: (root / "a.py").write_bytes(b"V = 6\n"), "damaged"),
        (lambda root: (root / "lib/b.py").unlink(), "damaged"),
        (lambda root: (root / "stray.py").write_bytes(b""), "foreign"),
        (lambda root: (root / "empty").mkdir(), "foreign"),
        (plant_link_to_directory, "foreign"),
        (plant_link_over_file, "damaged"),
        (swap_directory_for_link, "foreign"),
    ],
    ids=["same-size", "gone", "stray", "directory", "link", "file-to-link", "directory-to-link"],
)
async def test_drift_is_found_told_and_repaired_by_the_next_pass(
    agent: Agent, drift: Callable[[Path], object], kind: str
) -> None:
    await agent.cycle.sync()
    before = agent.live()
    drift(agent.target / "releases" / before)
    await agent.cycle.verify()
    assert agent.metric("drifted_files", kind=kind) >= 1
    assert has_drift(agent)
    await agent.cycle.sync()
    assert agent.files() == FILES
    assert agent.live() != before
    assert not [path for path in (agent.target / "current").resolve().rglob("*") if path.is_symlink()]
    await agent.cycle.verify()
    assert not has_drift(agent)
    assert agent.metric("drifted_files", kind=kind) == 0


async def test_byte_code_that_readers_left_is_no_drift_and_does_not_travel_on(agent: Agent) -> None:
    await agent.cycle.sync()
    cache = agent.target / "current/lib/__pycache__"
    cache.mkdir()
    (cache / "b.cpython-311.pyc").write_bytes(b"byte code")
    await agent.cycle.verify()
    assert not agent.cycle.has_drift
    agent.source.set(FILES | {"a.py": b"V = 2\n"})
    await agent.cycle.sync()
    assert not (agent.target / "current/lib/__pycache__").exists()


async def test_verifying_reads_no_faster_than_it_may(agent: Agent) -> None:
    await agent.cycle.sync()

    class Waits(Stop):
        def wait_in_thread(self, seconds: float) -> bool:
            waited.append(seconds)
            clock.advance(max(0.0, seconds))
            return False

    waited: list[float] = []
    clock = FakeClock()
    layout = Layout(agent.target)
    live = agent.live()
    verifier = Verifier(bytes_per_second=64 << 10, clock=clock, stop=Waits())
    assert not verifier.verify(layout.release(live), read_manifest(layout, live))
    assert clock.monotonic() >= len(FILES)  # each file counts as 64 KiB more than it has


async def test_verifying_ends_at_once_when_told_to_stop(agent: Agent) -> None:
    await agent.cycle.sync()
    agent.runtime.stop.request("SIGTERM")
    await agent.cycle.verify()
    assert agent.metric("verifications_total") == 0


async def test_a_release_that_goes_away_while_it_is_hashed_is_no_drift(agent: Agent) -> None:
    await agent.cycle.sync()
    layout, live = Layout(agent.target), agent.live()
    manifest = read_manifest(layout, live)
    layout.release(live).rename(layout.trash / live)
    verifier = Verifier(bytes_per_second=1e9, clock=agent.clock, stop=Stop())
    assert verifier.verify(layout.release(live), manifest) is None
