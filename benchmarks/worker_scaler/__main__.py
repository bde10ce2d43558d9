"""Play the scaler and the rules of others on the same synthetic weeks; print a table, write the numbers.

python benchmarks/worker_scaler --workflows FILE --half odd --seeds 11 12 --output report.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines import baselines

from worker_scaler.simulate.arrivals import cron_workload
from worker_scaler.simulate.bounds import bounds
from worker_scaler.simulate.experiment import Experiment, MakeController, play_all
from worker_scaler.simulate.policies import scaler_policies
from worker_scaler.simulate.report import document, table
from worker_scaler.simulate.workload import Dag, Workload, read_workflows
from worker_scaler.simulate.world import Terms

HALVES = {"even": 0, "odd": 1}


def main() -> int:
    """Run it."""
    arguments = _arguments()
    dags = read_workflows(arguments.workflows)
    chosen = [dag for index, dag in enumerate(dags) if arguments.half in ("all", _half(index))]
    documents = []
    for seed in arguments.seeds:
        found = _one(chosen, seed, arguments)
        documents.append(found)
        sys.stdout.write(f"{table(found)}\n\n")
        sys.stdout.flush()
        if arguments.output is not None:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"half": arguments.half, "simulations": documents}, indent=1)
            arguments.output.write_text(f"{text}\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workflows", type=Path, required=True)
    parser.add_argument("--half", choices=["all", *HALVES], default="odd", help="of the workflows, by place")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11])
    parser.add_argument("--days", type=float, default=2.0)
    parser.add_argument("--policies", nargs="*", default=None, help="of the scaler's own (all)")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--plot", type=Path, default=None)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=None)
    return parser.parse_args()


def _one(dags: Sequence[Dag], seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    terms = Terms()
    workload = cron_workload(dags, seed=seed, days=arguments.days)
    limits = bounds(workload, terms)
    plots = None if arguments.plot is None else arguments.plot / f"{arguments.half}_seed{seed}"
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(workload=workload, limits=limits, terms=terms, seed=seed, plots=plots)
    policies: list[tuple[str, MakeController]] = [
        (policy.name, policy.controller)
        for policy in scaler_policies(terms, max_workers=1000)
        if arguments.policies is None or policy.name in arguments.policies
    ]
    if not arguments.no_baselines:
        mean_workers = limits.clairvoyant * 3600.0 / workload.seconds
        policies += baselines(
            fixed_count=math.ceil(2.0 * mean_workers), mean_task_seconds=_mean_task_seconds(workload)
        )
    lines = []
    for line in play_all(experiment, policies, jobs=arguments.jobs):
        lines.append(line)
        sys.stderr.write(f"seed {seed}: {line['policy']} played ({len(lines)} of {len(policies)})\n")
    told = {"tasks_per_worker": terms.tasks_per_worker, "tick_seconds": terms.tick_seconds}
    return document(workload, limits, lines, seed=seed, terms=told)


def _mean_task_seconds(workload: Workload) -> float:
    seconds = [value for run in workload.past for value in run.seconds]
    return sum(seconds) / len(seconds) if seconds else 60.0


def _half(index: int) -> str:
    return "odd" if index % 2 else "even"


if __name__ == "__main__":
    sys.exit(main())
