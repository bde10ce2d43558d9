"""What the agent's memory is, stage by stage: ``python -m benchmarks.dags_agent.memory [KEYS ...]``.

Each stage is a process of its own that does only that, against the stub and the local disk: resident memory
at its end and its peak, in MiB. Memory does not depend on how busy the machine is.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.dags_agent.s3_stub.process import StubProcess
from benchmarks.dags_agent.tools import BUCKET, PREFIX, AgentSession, environment, ours

_SOURCE = f"s3://{BUCKET}/{PREFIX}"
_KEYS = (5_000, 100_000)
_FILES_PER_DIRECTORY = 50


def main() -> None:
    """Print a table."""
    print("| keys | stage | resident MiB | peak MiB |\n| ---: | --- | ---: | ---: |")
    for keys in map(int, sys.argv[1:]) if sys.argv[1:] else _KEYS:
        stub = StubProcess()
        seed = {"files": keys, "directories": max(keys // _FILES_PER_DIRECTORY, 1), "prefix": PREFIX}
        stub.set_up(BUCKET, seed=seed)
        try:
            for stage in ("imported", "connected", "listed"):
                _tell(keys, stage, _stage(stage, stub.url))
            _passes(keys, stub.url)
        finally:
            stub.close()


def _passes(keys: int, url: str) -> None:
    with tempfile.TemporaryDirectory() as work:
        for stage in ("first release", "restarted, nothing changed"):
            agent = ours(url)
            session = AgentSession({**agent.environment, "DAGS_AGENT_TARGET": str(Path(work) / "target")})
            told = session.measure()
            session.close()
            _tell(keys, stage, (told["resident_mib"], told["peak_mib"]))


def _tell(keys: int, stage: str, mib: tuple[float, float]) -> None:
    print(f"| {keys} | {stage} | {mib[0]:.0f} | {mib[1]:.0f} |", flush=True)


def _stage(name: str, url: str) -> tuple[float, float]:
    settings = environment(url)
    words = [sys.executable, "-c", f"from benchmarks.dags_agent.memory import stage; stage({name!r})"]
    done = subprocess.run(words, env=settings, check=True, capture_output=True, text=True)
    resident, peak = json.loads(done.stdout)
    return resident, peak


def stage(name: str) -> None:
    """Do one stage in this process, and print what it took."""
    import dags_agent.__main__  # noqa: F401 - what the command imports
    from dags_agent.arrivals import taken_from
    from dags_agent.keys import KeyRules, to_listing
    from dags_agent.settings import SourceUrl
    from dags_agent.source import connect
    from sidecar.aws import Aws
    from sidecar.clock import Stop, SystemClock

    async def act() -> object:
        if name == "imported":
            return None
        url, aws = SourceUrl.parse(_SOURCE), Aws(service="dags-agent", version="0", region="eu-west-1")
        rng = random.Random(0)
        async with connect(aws, url, connections=4, clock=SystemClock(), stop=Stop(), rng=rng) as source:
            if name == "connected":
                return source
            return to_listing(taken_from(await source.list()), KeyRules(prefix=url.prefix))

    held = asyncio.run(act())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(json.dumps([pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), peak]))
    del held


if __name__ == "__main__":
    main()
