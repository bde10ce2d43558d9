"""One tick over all fleets: what is done, in which order, and what a failure stops."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from sidecar.errors import ConfigError, SidecarError, Transient
from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.cycle import Cycle
from worker_scaler.dry_run import DryRunServices
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.model import Fleet, Phase, Sighting
from worker_scaler.ports import Services
from worker_scaler.steps import Protect, Refusal, SetDesired, Unprotect

from .fakes import FakeServices, FakeSource, World, fleet


class Bench:
    """A cycle of one fleet on a world, with everything it tells."""

    def __init__(self, world: World, *, policy: Fleet | None = None, dry_run: bool = False) -> None:
        self.world = world
        self.clock = FakeClock(world.now)
        self.services = FakeServices(world)
        self.source = FakeSource(world)
        self.telemetry = Telemetry(service="worker-scaler", version="1.2.3", clock=self.clock)
        self.explanations = Explanations(dry_run=dry_run)
        self.policy = policy or fleet()
        steered: Services = DryRunServices(self.services, self.clock) if dry_run else self.services
        self.cycle = Cycle(
            fleets=[self.policy],
            services=steered,
            source=self.source,
            clock=self.clock,
            events=Events(self.telemetry, [self.policy.name]),
            explanations=self.explanations,
            rng=random.Random(1),  # noqa: S311 - repeatable chance
        )

    async def tick(self) -> None:
        try:
            await self.cycle.tick()
        finally:
            self.clock.advance(10)
            self.world.pass_time()

    def metric(self, name: str, **labels: str) -> float | None:
        labels = labels or {"fleet": self.policy.name}
        return self.telemetry.registry.get_sample_value(f"airflow_ecs_worker_scaler_{name}", labels)

    def explained(self) -> Mapping[str, Any]:
        document: dict[str, Any] = json.loads(self.explanations.answer().body)
        found: dict[str, Any] = document["fleets"][self.policy.name]
        return found


async def test_a_backlog_is_answered_in_one_tick_with_one_update() -> None:
    bench = Bench(World())
    bench.world.queued = 7

    await bench.tick()

    assert bench.services.acts == [SetDesired(count=4, before=0)]
    assert bench.metric("decisions_total", fleet="heavy", why="backlog") == 1


async def test_idle_workers_are_gone_after_two_ticks_and_then_nothing_is_done() -> None:
    bench = Bench(World())
    bench.world.queued = 2
    await bench.tick()
    bench.world.queued = 0
    for _ in range(5):
        await bench.tick()

    assert bench.world.desired == 0
    assert [type(act) for act in bench.services.acts] == [SetDesired, SetDesired]
    assert bench.world.killed_busy == []


async def test_a_database_that_is_down_changes_nothing_and_fails_the_tick() -> None:
    bench = Bench(World(3))
    bench.world.settle()
    bench.source.error = Transient("The database does not answer")

    with pytest.raises(Transient):
        await bench.tick()

    assert [type(act) for act in bench.services.acts] == [Protect]
    assert bench.world.desired == 3
    assert bench.explained()["why"] == "no_reading"
    assert bench.explained()["demand_tasks"] is None


async def test_a_refused_protection_does_not_hold_up_the_scale_out_but_fails_the_tick() -> None:
    bench = Bench(World(1))
    bench.world.start(tasks=2)
    bench.world.queued = 2
    bench.services.act_errors = {Protect: Transient("Throttled")}

    with pytest.raises(Transient, match="Throttled"):
        await bench.tick()

    assert bench.services.acts == [SetDesired(count=2, before=1)]


async def test_nothing_is_unprotected_after_a_failed_step() -> None:
    policy = fleet(min_workers=1)
    world = World(2)
    kept, idle = world.start(), world.start(protected=True)
    bench = Bench(world, policy=policy)
    world.busy[kept] = 1
    bench.services.act_errors = {Protect: Transient("Throttled")}

    with pytest.raises(Transient):
        await bench.tick()

    assert not any(isinstance(act, Unprotect) for act in bench.services.acts)
    assert world.workers[idle].is_protected(world.now)


async def test_a_worker_whose_protection_ecs_did_not_take_off_is_not_let_go() -> None:
    bench = Bench(World(2))
    bench.world.start(protected=True)
    stubborn = bench.world.start(protected=True)

    def unprotect(fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        for one in arns:
            if one != stubborn:
                bench.world.do(Unprotect(arns=(one,)))
        return (Refusal(arn=stubborn, reason="MISSING"),) if stubborn in arns else ()

    bench.services.unprotect = unprotect  # type: ignore[method-assign]  # an ECS that fails for one of two
    for _ in range(4):
        await bench.tick()
        assert bench.world.protected <= bench.world.desired

    assert list(bench.world.workers) == [stubborn]
    assert bench.world.desired == 1
    refusals = bench.metric("protection_refusals_total")
    assert refusals is not None
    assert refusals >= 1


async def test_a_fleet_that_fails_does_not_hold_up_the_other() -> None:
    good, bad = World(), World()
    good.queued = 2
    services = {"good": FakeServices(good), "bad": FakeServices(bad)}
    services["bad"].look_error = ConfigError("There is no such service")

    class Both:
        """Each fleet has its own world."""

        def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting | SidecarError]:
            return {fleet.name: services[fleet.name].look_all([fleet])[fleet.name] for fleet in fleets}

        def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
            return services[fleet.name].protect(fleet, arns, minutes=minutes)

        def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
            return services[fleet.name].unprotect(fleet, arns)

        def set_desired(self, fleet: Fleet, count: int) -> None:
            services[fleet.name].set_desired(fleet, count)

    clock = FakeClock(good.now)
    telemetry = Telemetry(service="worker-scaler", version="0", clock=clock)
    cycle = Cycle(
        fleets=[fleet(name="bad", queues=("other",)), fleet(name="good")],
        services=Both(),
        source=FakeSource(good),
        clock=clock,
        events=Events(telemetry, ["bad", "good"]),
        explanations=Explanations(dry_run=False),
        rng=random.Random(1),  # noqa: S311 - repeatable chance
    )

    with pytest.raises(ConfigError, match="no such service"):
        await cycle.tick()
    assert good.desired == 1


async def test_a_dry_run_decides_the_same_and_changes_nothing() -> None:
    bench = Bench(World(), dry_run=True)
    bench.world.queued = 7

    with structlog.testing.capture_logs() as told:
        await bench.tick()
        await bench.tick()

    assert bench.services.acts == []
    assert bench.world.desired == 0
    assert [line["desired_after"] for line in told if line["log_level"] == "info"] == [4]
    assert bench.metric("desired_workers") == 4


async def test_a_dry_run_follows_a_count_that_somebody_really_changed() -> None:
    bench = Bench(World(), dry_run=True)
    bench.world.queued = 4
    await bench.tick()
    bench.world.do(SetDesired(count=5, before=0))

    await bench.tick()

    assert bench.explained()["desired_before"] == 5


# ---------------------------------------------------------------- what is told


async def test_a_tick_that_changes_something_says_so_at_info_with_the_numbers_else_at_debug() -> None:
    bench = Bench(World())
    bench.world.queued = 3
    with structlog.testing.capture_logs() as told:
        await bench.tick()
        bench.world.now = bench.clock.now()
        bench.services.acts.clear()
        await bench.tick()  # protects the new workers
        await bench.tick()

    levels = [(line["log_level"], line["why"]) for line in told if line["event"] == "decided"]
    assert levels == [("info", "backlog"), ("info", "steady"), ("debug", "steady")]
    assert told[0]["queued_tasks"] == 3
    assert (told[0]["desired_before"], told[0]["desired_after"]) == (0, 2)


async def test_an_unmatched_host_is_named_once_and_stays_in_the_metrics() -> None:
    bench = Bench(World(1))
    bench.world.start(protected=True)
    bench.world.strange_hosts = {"vm": 1}
    with structlog.testing.capture_logs() as told:
        await bench.tick()
        await bench.tick()

    named = [line for line in told if line["event"] == "unmatched_hosts"]
    assert [line["hosts"] for line in named] == [["vm"]]
    assert bench.metric("unmatched_hosts") == 1
    assert bench.explained()["unmatched_hosts"] == ["vm"]


async def test_orphan_queues_are_named() -> None:
    bench = Bench(World(), policy=fleet(queues=("light",)))
    bench.world.queued = 3
    with structlog.testing.capture_logs() as told:
        await bench.tick()
        await bench.tick()

    named = [line["tasks_by_queue"] for line in told if line["event"] == "orphan_queues"]
    assert named == [{"heavy": 3}]
    assert bench.telemetry.registry.get_sample_value("airflow_ecs_worker_scaler_orphan_tasks") == 3


async def test_a_worker_that_scale_in_stopped_while_it_was_busy_is_counted_once() -> None:
    bench = Bench(World(1))
    lost = bench.world.start(tasks=2)
    await bench.tick()
    assert bench.metric("tasks_lost_to_scale_in_total") == 0

    bench.world.busy.clear()
    dead = replace(
        bench.world.workers[lost],
        phase=Phase.STOPPED,
        stop_code="ServiceSchedulerInitiated",
        stop_reason="Scaling activity initiated by (deployment ecs-svc/1)",
        protected_until=None,
    )
    bench.world.workers[lost] = dead
    with structlog.testing.capture_logs() as told:
        await bench.tick()
        await bench.tick()

    assert bench.metric("tasks_lost_to_scale_in_total") == 2
    assert [line["worker"] for line in told if line["event"] == "tasks_lost_to_scale_in"] == [lost]


async def test_the_names_of_all_metrics() -> None:
    bench = Bench(World())
    await bench.tick()

    families = {
        family.name for family in bench.telemetry.registry.collect() if "worker_scaler" in family.name
    }
    assert {name.removeprefix("airflow_ecs_worker_scaler_") for name in families} == {
        "api_requests",
        "api_requests_deferred",
        "busy_workers",
        "consecutive_failures",
        "cordoned_workers",
        "cycle_duration_seconds",
        "cycles",
        "decisions",
        "demand_tasks",
        "desired_workers",
        "fleet_failures",
        "held",
        "last_success_timestamp_seconds",
        "oldest_queued_age_seconds",
        "orphan_tasks",
        "pending_workers",
        "protected_workers",
        "protection_refusals",
        "queued_tasks",
        "running_workers",
        "silent_agents",
        "tasks_lost_to_scale_in",
        "tasks_on_dead_workers",
        "unmatched_hosts",
        "worker_deaths",
        "writer",
    }
