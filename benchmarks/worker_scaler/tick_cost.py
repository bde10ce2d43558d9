"""What one tick costs the scaler's own CPU, from 1 fleet with 5 workers to 50 fleets with 500, and beyond.

python benchmarks/worker_scaler/tick_cost.py [--ticks N]

Everything the scaler does in a tick is done: decide, remember, tell, explain. ECS and the database answer
from memory: this program is measured, and not the network. CPU seconds of the process, the median of the
ticks; wall time says nothing on a shared machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import resource
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sidecar import logs
from sidecar.clock import Clock
from sidecar.telemetry import Telemetry
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.cycle import Cycle
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.model import Fleet, Phase, QueueDepth, Reading, Sighting, Worker
from worker_scaler.steps import Refusal

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SIZES = ((1, 5), (1, 50), (1, 500), (5, 50), (10, 100), (25, 250), (50, 500), (1, 5000))
TASKS_PER_WORKER = 16


class Answers:
    """An ECS and a database that answer from memory: every worker is busy but the last of each fleet."""

    def __init__(self, fleets: Sequence[Fleet], workers: int, clock: Clock) -> None:
        self._clock = clock
        self._sightings: dict[str, Sighting] = {}
        self._queues: dict[str, QueueDepth] = {}
        for index, fleet in enumerate(fleets):
            seen = [_worker(index, number) for number in range(workers)]
            self._sightings[fleet.name] = Sighting(desired=workers, workers=tuple(seen))
            hosts = {_host(index, number): TASKS_PER_WORKER for number in range(workers - 1)}
            self._queues[fleet.queues[0]] = QueueDepth(running=sum(hosts.values()), busy_hosts=hosts)

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting]:
        """Return all services."""
        return {fleet.name: self._sightings[fleet.name] for fleet in fleets}

    def read(self) -> Reading:
        """Return all queues."""
        return Reading(taken_at=self._clock.now(), queues=self._queues)

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Do nothing."""
        del fleet, arns, minutes
        return ()

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Do nothing."""
        del fleet, arns
        return ()

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Do nothing."""


def _address(fleet: int, number: int) -> str:
    return f"10.{fleet}.{number // 250}.{number % 250}"


def _host(fleet: int, number: int) -> str:
    return f"ip-{_address(fleet, number).replace('.', '-')}.ec2.internal"


def _worker(fleet: int, number: int) -> Worker:
    return Worker(
        arn=f"arn:aws:ecs:us-east-1:123456789012:task/main/{fleet:016x}{number:016x}",
        phase=Phase.RUNNING,
        created_at=START - timedelta(hours=1),
        started_at=START - timedelta(hours=1),
        protected_until=START + timedelta(days=1),
        addresses=(_address(fleet, number),),
    )


def _fleet(index: int) -> Fleet:
    return Fleet(
        name=f"fleet{index}",
        cluster="main",
        service=f"workers{index}",
        queues=(f"queue{index}",),
        tasks_per_worker=TASKS_PER_WORKER,
        min_workers=0,
        max_workers=10_000,
        scale_in_window=timedelta(hours=1),
        protection=timedelta(hours=1),
        minimum_age=timedelta(minutes=1),
        reading_max_age=timedelta(minutes=1),
    )


def cpu_seconds() -> float:
    """Return what this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(fleets: int, workers: int, ticks: int) -> float:
    """Return the median CPU seconds of one tick."""
    clock = FakeClock(START)
    telemetry = Telemetry(service="worker-scaler", version="0", clock=clock)
    steered = [_fleet(index) for index in range(fleets)]
    answers = Answers(steered, workers // fleets, clock)
    cycle = Cycle(
        fleets=steered,
        services=answers,
        source=answers,
        clock=clock,
        events=Events(telemetry, [fleet.name for fleet in steered]),
        explanations=Explanations(dry_run=False),
        rng=random.Random(1),
    )
    used = []
    for _ in range(ticks):
        before = cpu_seconds()
        await cycle.tick()
        used.append(cpu_seconds() - before)
        clock.advance(10)
    return statistics.median(used)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", type=int, default=20, help="per size (20)")
    ticks = parser.parse_args().ticks
    logs.configure(service="worker-scaler", level="info", log_format="json")
    out = sys.stdout.write
    out(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, ")
    out(f"{os.cpu_count()} cores, {platform.system()}; median CPU of {ticks} ticks\n\n")
    out("| fleets | workers | ms per tick | µs per worker | share of a 10 s tick |\n")
    out("| ---: | ---: | ---: | ---: | ---: |\n")
    for fleets, workers in SIZES:
        seconds = asyncio.run(measure(fleets, workers, ticks))
        per_worker = seconds / workers * 1e6
        out(f"| {fleets} | {workers} | {seconds * 1e3:.1f} | {per_worker:.0f} | {seconds / 10:.2%} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
