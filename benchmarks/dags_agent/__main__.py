"""Measure the agent beside its peers: ``python -m benchmarks.dags_agent --help``.

Rounds are interleaved (every tool once, then every tool again), the table shows medians, and the load of the
machine is stated: on a busy one trust the CPU seconds and the counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.dags_agent.rig import Disk, efs_like_disk, local_disk
from benchmarks.dags_agent.s3_stub.process import StubProcess
from benchmarks.dags_agent.tools import BUCKET, PREFIX, OurAgent, Session, Tool, ours, peers

DISKS = {"local": local_disk, "efs": efs_like_disk}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dags_agent", description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--directories", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--disk", choices=[*DISKS, "both"], default="both")
    parser.add_argument("--s3-latency-ms", type=float, default=15.0, help="on the EFS-like disk; 0 on local")
    parser.add_argument("--tools", default="", help="only those whose name holds this")
    parser.add_argument("--peers", type=Path, help="a directory with bin/aws, bin/s5cmd, bin/rclone")
    parser.add_argument("--work", type=Path, help="where to work; default: the temporary directory")
    parser.add_argument("--json", type=Path, help="write every single measurement there")
    return parser.parse_args()


def _measure(session: Session, disk: Disk, stub: StubProcess) -> dict[str, Any]:
    stub.set_up(BUCKET, reset_counts=True)
    disk.operations()
    cost = session.sync()
    after = disk.operations()
    operations = cost.operations or after
    return {
        "wall_seconds": cost.wall_seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_mib": cost.peak_mib,
        "reads": operations.get("reads"),
        "writes": operations.get("writes"),
        "operations": operations,
        "writes_afterwards": after.get("writes") if cost.operations else 0,
        "s3": stub.set_up(BUCKET)["counts"],
        "load": os.getloadavg()[0],
    }


def _round(tool: Tool, disk: Disk, stub: StubProcess, number: int) -> list[dict[str, Any]]:
    """Do a first sync, one that changes nothing, and one of a single change, in a directory of its own."""
    target = disk.root / f"{tool.name.replace(' ', '-').replace('(', '').replace(')', '')}-{number}"
    session = tool.open(target)
    rows = []
    try:
        for scenario in ("cold", "no-op", "1 changed", "1 more changed"):
            if "changed" in scenario:
                _change_one(stub, number)
            time.sleep(disk.attributes_seconds)
            row = _measure(session, disk, stub)
            rows.append({"tool": tool.name, "disk": disk.name, "scenario": scenario, "round": number} | row)
    finally:
        session.close()
    return rows


def _change_one(stub: StubProcess, number: int) -> None:
    key = f"{PREFIX}team0000/dag_000000.py"
    body = f"# changed in round {number} at {time.time_ns()}\n".encode()
    stub.set_up(BUCKET, objects={key: {"hex": body.hex()}}, touch=[key])


def _table(rows: list[dict[str, Any]]) -> str:
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["disk"], row["scenario"], row["tool"]].append(row)
    lines = [
        "| disk | sync | tool | wall s | CPU s | S3 requests | fs reads | fs writes | writes afterwards |",
        "| --- | --- | --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for (disk, scenario, tool), found in grouped.items():
        wall = statistics.median(row["wall_seconds"] for row in found)
        cpu = statistics.median(row["cpu_seconds"] for row in found)
        s3 = ", ".join(
            f"{count} {name}" for name, count in sorted(found[-1]["s3"].items()) if ":" not in name
        )
        reads, writes = found[-1]["reads"], found[-1]["writes"]
        counts = " | ".join(
            "" if count is None else str(count) for count in (reads, writes, found[-1]["writes_afterwards"])
        )
        lines.append(f"| {disk} | {scenario} | {tool} | {wall:.2f} | {cpu:.2f} | {s3} | {counts} |")
    return "\n".join(lines)


def main() -> None:
    """Run it."""
    arguments = _arguments()
    rows: list[dict[str, Any]] = []
    stub = StubProcess()
    work = Path(tempfile.mkdtemp(prefix="dags-bench-", dir=arguments.work))
    try:
        seed = {"files": arguments.files, "directories": arguments.directories, "prefix": PREFIX}
        stub.set_up(BUCKET, seed=seed)
        tools: list[Tool] = [ours(stub.url), *peers(stub.url, directory=arguments.peers)]
        tools = [tool for tool in tools if arguments.tools in tool.name]
        for name in DISKS if arguments.disk == "both" else [arguments.disk]:
            latency = arguments.s3_latency_ms / 1000 if name == "efs" else 0.0
            stub.set_up(BUCKET, latency_seconds=latency)
            with ExitStack() as stack:
                disk = stack.enter_context(DISKS[name](work))
                for number in range(arguments.rounds):
                    for each in tools:
                        tool = replace(each, operations=disk.told) if isinstance(each, OurAgent) else each
                        rows += _round(tool, disk, stub, number)
                        print(f"{name} round {number}: {tool.name}", file=sys.stderr)
    finally:
        stub.close()
        shutil.rmtree(work, ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    loads = [row["load"] for row in rows]
    today = datetime.now(UTC)
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"
    shape = f"{arguments.files} files in {arguments.directories} directories, medians of {arguments.rounds}"
    load = f"load {min(loads):.1f} to {max(loads):.1f}"
    print(f"{today:%Y-%m-%d}, {machine}, {shape}, {load}\n\n{_table(rows)}")


if __name__ == "__main__":
    main()
