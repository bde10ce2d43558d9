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

from dags_agent.connecting import connect_source
from dags_agent.cycle import Cycle
from dags_agent.events import Events
from dags_agent.settings import DagsAgentSettings
from sidecar.app import Runtime
from sidecar.aws import Aws
from sidecar.clock import Stop, SystemClock
from sidecar.health import Health
from sidecar.telemetry import Telemetry

RESULT = "RESULT "


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
        cycle = Cycle(settings, runtime, source, Events(telemetry))
        loop = asyncio.get_running_loop()
        _say({"ready": True})
        while await loop.run_in_executor(None, sys.stdin.readline):
            wall, cpu = time.perf_counter(), time.process_time()
            await cycle.sync()
            _say(
                {
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
