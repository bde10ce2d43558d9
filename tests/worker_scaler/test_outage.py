"""The database that holds the queues and the lock is down: what its writer still does."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from sidecar.errors import Transient
from sidecar.postgres import Database
from sidecar.secrets import Secret
from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.advisory_lock import AdvisoryLock
from worker_scaler.crosscheck import Messages
from worker_scaler.cycle import Cycle
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.lease import FencedServices
from worker_scaler.one_writer import OneWriter
from worker_scaler.sources.events import SourceEvents
from worker_scaler.sources.sqs import CrossCheck

from .fakes import FakeServices, FakeSource, World, fleet

pytestmark = pytest.mark.integration


class Queues:
    """An SQS that counts what the test says."""

    def __init__(self) -> None:
        self.visible = 0

    def count(self) -> dict[str, Messages]:
        return {"heavy": Messages(visible=self.visible, in_flight=0)}


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


class Copy:
    """One copy of the scaler with the lock it ships with; only ECS, SQS and the clock are not real."""

    def __init__(self, database: str, world: World) -> None:
        self.world, self.clock, self.queues = world, FakeClock(world.now), Queues()
        telemetry = Telemetry(service="worker-scaler", version="0", clock=self.clock)
        events, self.explanations = Events(telemetry, ["heavy"]), Explanations(dry_run=False)
        self.services, self.source = FakeServices(world), FakeSource(world)
        reach = Database(Secret(literal=database, read=no_secrets), application_name="copy")
        self.lock = AdvisoryLock(reach, services=["main/workers"])
        fence = FencedServices(self.services, self.lock)
        cycle = Cycle(
            fleets=[fleet()],
            services=fence,
            source=self.source,
            clock=self.clock,
            events=events,
            explanations=self.explanations,
            rng=random.Random(1),  # noqa: S311 - repeatable chance
            crosscheck=CrossCheck(
                self.queues,  # type: ignore[arg-type]  # it counts as SQS does
                clock=self.clock,
                events=SourceEvents(telemetry),
            ),
        )
        self.writer = OneWriter(fence=fence, steering=cycle, events=events, explanations=self.explanations)

    async def tick(self) -> None:
        try:
            await self.writer.tick()
        finally:
            self.clock.advance(10)
            self.world.pass_time()

    def explained(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.explanations.answer().body)
        return document


@contextlib.contextmanager
def down(url: str) -> Iterator[None]:
    """No session of it lives, and no new one is let in."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    elsewhere = psycopg.conninfo.make_conninfo(url, dbname="postgres")
    with psycopg.connect(elsewhere, autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


async def test_while_the_database_is_down_its_writer_renews_protections_and_raises_on_the_word_of_sqs(
    database: str,
) -> None:
    world = World(1)
    worker = world.start(tasks=2)
    copy = Copy(database, world)
    await copy.tick()

    copy.source.error, copy.queues.visible = Transient("the database is down"), 10
    with down(database):
        for _ in range(270):  # 45 minutes
            with pytest.raises(Transient):
                await copy.tick()

    left = (world.workers[worker].protected_until or world.now) - world.now
    assert left.total_seconds() >= 29 * 60
    assert world.desired == 5
    assert copy.explained()["role"] == "only_adds"
    copy.lock.release()


async def test_while_the_lock_cannot_be_asked_for_nobody_is_let_go_even_on_a_good_reading(
    database: str,
) -> None:
    world = World(3)
    for _ in range(3):
        world.start(protected=True)
    copy = Copy(database, world)
    world.busy = dict.fromkeys(world.workers, 1)
    await copy.tick()

    world.busy.clear()
    with down(database):
        for _ in range(20):
            with pytest.raises(Transient):
                await copy.tick()
    assert (world.desired, world.protected) == (3, 3)

    for _ in range(20):
        await copy.tick()
    assert copy.explained()["role"] == "writer"
    assert world.desired == 0
    copy.lock.release()


async def test_a_copy_that_was_never_the_writer_does_nothing_while_the_database_is_down(
    database: str,
) -> None:
    world = World(1)
    world.start()
    copy = Copy(database, world)
    world.queued = 10

    with down(database), pytest.raises(Transient):
        await copy.tick()

    assert copy.services.acts == []
    assert copy.explained()["role"] == "standby"
