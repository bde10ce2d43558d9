"""The agent's own pass, driven from outside: a line on standard input is a pass, a line of JSON its cost.

It is a daemon: unlike a command in a loop it does not begin anew for every look.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

from dags_agent.connecting import connect_source
from dags_agent.cycle import Cycle
from dags_agent.events import Events
from dags_agent.plan import Delta
from dags_agent.settings import DagsAgentSettings
from sidecar.app import Runtime
from sidecar.aws import Aws
from sidecar.clock import Stop, SystemClock
from sidecar.health import Health
from sidecar.telemetry import Telemetry

RESULT = "RESULT "


class _Watched(Events):
    """Notes when readers see a release: chores follow, for which nobody waits."""

    visible_at = 0.0
    operations = ""

    def published(self, release_id: str, delta: Delta, **facts: Any) -> None:
        self.visible_at = time.perf_counter()
        told = os.environ.get("BENCH_OPERATIONS")
        if told:
            descriptor = os.open(told, os.O_RDONLY)
            self.operations = os.read(descriptor, 1 << 16).decode()
            os.close(descriptor)
        super().published(release_id, delta, **facts)


async def _drive() -> None:
    settings = DagsAgentSettings.load(dict(os.environ))
    clock = SystemClock()
    telemetry = Telemetry(service="dags-agent", version="0", clock=clock)
    runtime = Runtime(
        aws=Aws(service="dags-agent", version="0"),
        clock=clock,
        stop=Stop(),
        telemetry=telemetry,
        health=Health(clock),
        rng=random.Random(0),
        environ={},
        dry_run=False,
    )
    settings.target.mkdir(parents=True, exist_ok=True)
    async with connect_source(runtime, settings, connections=settings.max_concurrency) as source:
        events = _Watched(telemetry)
        cycle = Cycle(settings, runtime, source, events, wake=asyncio.Event())
        loop = asyncio.get_running_loop()
        _say({"ready": True})
        while await loop.run_in_executor(None, sys.stdin.readline):
            wall, cpu = time.perf_counter(), time.process_time()
            events.visible_at, events.operations = 0.0, ""
            await cycle.sync()
            _say(
                {
                    "visible_seconds": (events.visible_at or time.perf_counter()) - wall,
                    "operations_until_visible": events.operations,
                    "wall_seconds": time.perf_counter() - wall,
                    "cpu_seconds": time.process_time() - cpu,
                    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                    "resident_mib": _resident_mib(),
                }
            )
        cycle.close()


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _say(document: dict[str, object]) -> None:
    print(RESULT + json.dumps(document), flush=True)


if __name__ == "__main__":
    asyncio.run(_drive())
