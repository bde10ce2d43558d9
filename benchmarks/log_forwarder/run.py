"""One command: measure the log forwarder, and the peers that are installed, with the same stream.

    .venv/bin/python benchmarks/log_forwarder/run.py            # everything, about 15 minutes
    .venv/bin/python benchmarks/log_forwarder/run.py --quick    # a smaller one, about 4 minutes
    .venv/bin/python benchmarks/log_forwarder/run.py throughput tracked

Prints a Markdown table with the machine, the date and its load. Exits 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator

import scenarios
from scenarios import Row


def groups(*, quick: bool) -> dict[str, Callable[[], list[Row]]]:
    """Return what can be run, by name."""
    size = 0.25 if quick else 1.036
    throughput = scenarios.throughput
    return {
        "throughput": lambda: [
            scenarios.marginal(0.6 if quick else 1.036),
            throughput(size, files=1, name="envelope, gzip"),
            throughput(size, files=40, name="envelope, gzip"),
            throughput(size, files=40, name="envelope, zstd", COMPRESSION="zstd"),
            throughput(size, files=40, name="json, gzip", FORMAT="json"),
            throughput(0.131, files=1500 if quick else 15_000, name="many small"),
        ],
        "tracked": lambda: [scenarios.tracked_files(10_000 if quick else 100_000)],
        "new": lambda: [scenarios.new_file()],
        "bill": lambda: [scenarios.bill(120 if quick else 300)],
        "short": lambda: [scenarios.short_lived(2_000 if quick else 20_000)],
        "faults": scenarios.outages,
        "peers": lambda: list(peers(size)),
    }


def peers(size_gb: float) -> Iterator[Row]:
    """Run the peers that are installed."""
    binary = shutil.which("fluent-bit")
    if binary:
        yield scenarios.peer_fluent_bit(size_gb, binary)
    else:
        yield Row(name="peer: fluent-bit", result="not on the PATH, not run")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("groups", nargs="*", help="throughput tracked new bill short faults peers")
    arguments = parser.parse_args()
    available = groups(quick=arguments.quick)
    began = dt.datetime.now(dt.UTC)
    load = os.getloadavg()[0]
    rows: list[Row] = []
    for name in arguments.groups or available:
        for row in available[name]():
            sys.stderr.write(f"{'ok  ' if row.is_met else 'MISS'} {row.name}: {row.result}\n")
            rows.append(row)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python ", end="")
    print(f"{platform.python_version()}; {began:%Y-%m-%d %H:%M} UTC; load at the start {load:.1f}\n")
    print("| run | result | target | |\n| --- | --- | --- | --- |")
    for row in rows:
        mark = ("met" if row.is_met else "**missed**") if row.target else ""
        print(f"| {row.name} | {row.result} | {row.target} | {mark} |")
    return 0 if all(row.is_met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
