"""Every plan, stopped after each of its steps on a real directory, planned again without memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from dags_agent.disk import observe
from dags_agent.fetch import Fetcher
from dags_agent.layout import Layout
from dags_agent.plan import make_plan
from dags_agent.policy import Policy
from dags_agent.publish import Publisher
from dags_agent.steps import Step
from dags_agent.writer import WriterLease
from sidecar.clock import Stop
from sidecar.testing.fake_clock import FakeClock
from sidecar.testing.replay import run_every_prefix

from .fakes import FakeSource, listing_of, tree

OLD = {"a.py": b"VERSION = 1", "lib/b.py": b"VERSION = 1", "gone/c.py": b"VERSION = 1", "same.sql": b"select"}
NEW = {"a.py": b"VERSION = 2", "lib/b.py": b"VERSION = 2", "new/d.py": b"VERSION = 2", "same.sql": b"select"}


@dataclass
class World:
    layout: Layout
    files: dict[str, bytes]
    threads: ThreadPoolExecutor
    policy: Policy
    clock: FakeClock = field(default_factory=FakeClock)
    publisher: Publisher | None = None

    def plan(self) -> tuple[Step, ...]:
        """Look and decide, as a fresh process does."""
        source = FakeSource()
        source.set(self.files)
        fetcher = Fetcher(
            source,
            concurrency=2,
            threads=self.threads,
            clock=self.clock,
            stop=Stop(),
            rng=random.Random(0),  # noqa: S311 - jitter
        )
        self.layout.prepare()
        lease = WriterLease(self.layout, lease_seconds=30, clock=self.clock, stop=Stop())
        fence = lease.try_claim()  # the process that died before held it, and was this one
        lease.close()
        assert fence is not None
        fence.release()
        self.publisher = Publisher(
            self.layout,
            fetcher,
            source="s3://bucket/dags/",
            threads=self.threads,
            clock=self.clock,
            owner=None,
            fence=fence,
            gate_timeout_seconds=60,
        )
        target = observe(self.layout)
        if self.policy.prepares_ahead and target.live and (self.layout.ahead / target.live).is_dir():
            target = replace(target, ahead=target.live)  # the worst case: links half made, and taken
        return make_plan(listing_of(self.files), target, self.policy, now=self.clock.now())

    def apply(self, step: Step) -> None:
        assert self.publisher is not None
        asyncio.run(self.publisher.apply(step))

    def reach(self, files: dict[str, bytes]) -> None:
        self.files = files
        for step in self.plan():
            self.apply(step)


@pytest.fixture
def new_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    count = 0
    with ThreadPoolExecutor(2) as threads:

        def make(*, keep_releases: int = 2, prepares_ahead: bool = False) -> World:
            nonlocal count
            count += 1
            policy = Policy(
                max_delete_fraction=0.5, keep_releases=keep_releases, keep=timedelta(0), must_compile=True
            )
            policy = replace(policy, prepares_ahead=prepares_ahead)
            return World(layout=Layout(tmp_path / str(count)), files={}, threads=threads, policy=policy)

        yield make


def is_a_whole_release(world: World, *allowed: dict[str, bytes]) -> None:
    if world.layout.current.is_symlink():
        assert tree(world.layout.current) in allowed


def is_at_the_goal(world: World) -> None:
    assert tree(world.layout.current) == world.files
    target = observe(world.layout)
    assert target.leftovers == ()
    assert not target.damaged
    assert len(target.releases) <= world.policy.keep_releases
    assert world.plan() == ()


def test_a_first_publish_converges_from_every_interruption(new_world: Callable[..., World]) -> None:
    def start() -> World:
        world = new_world()
        world.files = NEW
        return world

    tried = run_every_prefix(
        start=start,
        plan=World.plan,
        apply=World.apply,
        holds=lambda world: is_a_whole_release(world, NEW),
        is_goal=is_at_the_goal,
    )
    assert tried == 7


def test_a_change_with_deletions_and_retirement_converges_from_every_interruption(
    new_world: Callable[..., World],
) -> None:
    def start() -> World:
        world = new_world(keep_releases=1)
        world.reach(OLD)
        world.clock.advance(1)
        world.files = NEW
        return world

    tried = run_every_prefix(
        start=start,
        plan=World.plan,
        apply=World.apply,
        holds=lambda world: is_a_whole_release(world, OLD, NEW),
        is_goal=is_at_the_goal,
    )
    assert tried == 10


def test_a_change_on_links_made_ahead_converges_from_every_interruption(
    new_world: Callable[..., World],
) -> None:
    def start() -> World:
        world = new_world(keep_releases=1, prepares_ahead=True)
        world.reach(OLD)
        world.clock.advance(1)
        world.files = NEW
        return world

    tried = run_every_prefix(
        start=start,
        plan=World.plan,
        apply=World.apply,
        holds=lambda world: is_a_whole_release(world, OLD, NEW),
        is_goal=is_at_the_goal,
    )
    assert tried == 11


def test_leftovers_of_every_kind_are_swept_on_the_way(new_world: Callable[..., World]) -> None:
    def start() -> World:
        world = new_world()
        world.reach(OLD)
        own, releases = world.layout.own, world.layout.releases
        (own / "building" / "20200101T000000Z-00000000" / "lib").mkdir(parents=True)
        (own / "trash" / "20200101T000000Z-11111111").mkdir(parents=True)
        (own / "trash" / "20200101T000000Z-11111111" / "a.py").write_bytes(b"")
        (own / "ahead" / "20200101T000000Z-33333333" / "lib").mkdir(parents=True)
        (own / "link-0123").symlink_to("releases/nowhere")
        (own / ".tmp-0123-state.json").write_bytes(b"half")
        (releases / "20200101T000000Z-22222222.json").write_bytes(b"{}")
        (releases / ".tmp-0123-x.json").write_bytes(b"half")
        return world

    tried = run_every_prefix(
        start=start,
        plan=World.plan,
        apply=World.apply,
        holds=lambda world: is_a_whole_release(world, OLD),
        is_goal=is_at_the_goal,
    )
    assert tried == 8


def test_what_is_not_ours_is_left_alone(new_world: Callable[..., World]) -> None:
    world = new_world(keep_releases=1)
    world.reach(OLD)
    foreign = [world.layout.target / "notes.txt", world.layout.releases / "mine", world.layout.own / "notes"]
    for path in foreign:
        path.write_bytes(b"keep me")
    outside = world.layout.target.with_suffix(".outside")
    outside.mkdir()
    (outside / "precious").write_bytes(b"keep me too")
    (world.layout.trash / "trap").symlink_to(outside)
    world.reach(NEW)
    assert all(path.read_bytes() == b"keep me" for path in foreign)
    assert (outside / "precious").read_bytes() == b"keep me too"
    assert not (world.layout.trash / "trap").is_symlink()
