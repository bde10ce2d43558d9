"""``worker-scaler simulate``: what would it have cost, and who would have waited?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sidecar.app import Command, Runtime
from sidecar.errors import EXIT_OK, ConfigError, SidecarError
from worker_scaler.settings import WorkerScalerSettings
from worker_scaler.simulate.arrivals import cron_workload
from worker_scaler.simulate.bounds import bounds
from worker_scaler.simulate.ecs import StartLatency
from worker_scaler.simulate.experiment import Experiment, play_all
from worker_scaler.simulate.plot import load_pyplot
from worker_scaler.simulate.policies import Policy, scaler_policies
from worker_scaler.simulate.replay import read_trace_file
from worker_scaler.simulate.report import document, table
from worker_scaler.simulate.workload import Workload, read_workflows
from worker_scaler.simulate.world import Terms

MEANING = "replay a trace, or workflows on synthetic cron schedules, through this scaler on virtual time"


def main(words: Sequence[str]) -> int:
    """Run ``worker-scaler simulate`` with these arguments; needs no settings. Return the exit code."""
    parser = argparse.ArgumentParser(prog="worker-scaler simulate", description=MEANING, allow_abbrev=False)
    add_arguments(parser)
    arguments = parser.parse_args(words)
    try:
        return simulate(arguments)
    except SidecarError as err:
        sys.stderr.writelines(f"worker-scaler: {line}\n" for line in err.lines())
        return err.exit_code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--trace", type=Path, help="a file that 'worker-scaler trace export' wrote")
    what.add_argument(
        "--workflows", type=Path, help="JSON, maybe gzipped: workflows[].tasks = [runtime_seconds, [parents]]"
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="NAME",
        help="only this policy, and default; may be repeated (all of them)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything that chance decides (%(default)s)")
    parser.add_argument("--days", type=_positive, default=2.0, help="of synthetic arrivals (%(default)s)")
    parser.add_argument("--tasks-per-worker", type=int, default=16, help="Celery's concurrency (%(default)s)")
    parser.add_argument("--max-workers", type=int, default=1000, help="of the fleet (%(default)s)")
    parser.add_argument(
        "--start-seconds", type=_positive, default=75.0, help="median start latency of a worker (%(default)s)"
    )
    parser.add_argument("--plot", type=Path, metavar="DIR", help="write a picture per policy there")
    parser.add_argument("--jobs", type=int, default=0, help="policies at a time (one per CPU)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _act(settings: WorkerScalerSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    del settings, runtime  # a simulation asks nobody
    return simulate(arguments)


def simulate(arguments: argparse.Namespace) -> int:
    """Do it.

    Raises:
        ConfigError: the file is something else, a policy has no such name, or nothing can be plotted.
    """
    terms = Terms(
        tasks_per_worker=arguments.tasks_per_worker,
        latency=StartLatency(median_seconds=arguments.start_seconds),
    )
    policies = _chosen(scaler_policies(terms, max_workers=arguments.max_workers), arguments.policy)
    if arguments.plot is not None:
        load_pyplot()  # or say now that it is missing, not after minutes
        arguments.plot.mkdir(parents=True, exist_ok=True)
    workload = _workload(arguments)
    experiment = Experiment(
        workload=workload,
        limits=bounds(workload, terms),
        terms=terms,
        seed=arguments.seed,
        plots=arguments.plot,
    )
    jobs = min(arguments.jobs or os.cpu_count() or 1, len(policies))
    lines = []
    for policy, line in zip(
        policies,
        play_all(experiment, [(policy.name, policy.controller) for policy in policies], jobs=jobs),
        strict=True,
    ):
        lines.append({**line, "meaning": policy.meaning})
        told = f"{policy.name}: {line['worker_hours_over_clairvoyant']} x clairvoyant"
        sys.stderr.write(f"{told}, p95 {line['wait_p95_seconds']:.0f} s ({len(lines)} of {len(policies)})\n")
        sys.stderr.flush()
    found = document(workload, experiment.limits, lines, seed=arguments.seed, terms=_told(terms))
    sys.stdout.write(f"{json.dumps(found, indent=1) if arguments.json else table(found)}\n")
    return EXIT_OK


def _workload(arguments: argparse.Namespace) -> Workload:
    if arguments.trace is not None:
        return read_trace_file(arguments.trace)
    return cron_workload(read_workflows(arguments.workflows), seed=arguments.seed, days=arguments.days)


def _chosen(policies: Sequence[Policy], names: Sequence[str]) -> list[Policy]:
    known = [policy.name for policy in policies]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"There is no policy {unknown[0]!r}",
            why=f"there are {', '.join(known)}",
            remedy="Give one of these with --policy; the rules of others are run by benchmarks/worker_scaler",
        )
    return [policy for policy in policies if not names or policy.name in (*names, "default")]


def _told(terms: Terms) -> dict[str, float]:
    return {
        "tasks_per_worker": terms.tasks_per_worker,
        "tick_seconds": terms.tick_seconds,
        "start_latency_median_seconds": terms.latency.median_seconds,
        "start_latency_sigma": terms.latency.sigma,
    }


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


COMMAND: Command[WorkerScalerSettings] = Command(
    name="simulate", meaning=MEANING, act=_act, add_arguments=add_arguments
)
