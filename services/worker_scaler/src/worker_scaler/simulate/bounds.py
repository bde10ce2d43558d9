"""What nobody can undercut without letting tasks wait: a scaler that knows the future.

``clairvoyant``: every task runs at the moment it is ready, workers appear and vanish at once, tasks move
between workers so that none is ever half empty: the integral of ``ceil(executing / tasks_per_worker)``.

``clairvoyant_with_start_latency``: the same, but each start is ordered just in time and bills its image pull
and boot; a worker that is needed again sooner than that is kept instead.

Both assume that no task waits. A policy that lets tasks wait may be cheaper than either, and says so in its
waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from worker_scaler.simulate.ecs import PROVISIONING_SHARE
from worker_scaler.simulate.workload import DagRun, Workload, ready_seconds
from worker_scaler.simulate.world import Terms

HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Worker-hours."""

    clairvoyant: float
    clairvoyant_with_start_latency: float


def bounds(workload: Workload, terms: Terms) -> Bounds:
    """Return the bounds of a workload."""
    steps = sorted(step for run in workload.runs for step in _steps(workload, run))
    start_cost = terms.latency.median_seconds * (1.0 - PROVISIONING_SHARE)
    needed = executing = 0
    area = starting = before = 0.0
    last_needed: list[float] = []  # by worker, the first one first: when it was last needed
    for at, change in steps:
        area += needed * (at - before)
        before = at
        executing += change
        now_needed = -(-executing // terms.tasks_per_worker)
        while needed < now_needed:
            if needed == len(last_needed):
                last_needed.append(0.0)
                starting += start_cost
            else:
                starting += min(start_cost, at - last_needed[needed])
            needed += 1
        while needed > now_needed:
            needed -= 1
            last_needed[needed] = at
    return Bounds(clairvoyant=area / HOUR, clairvoyant_with_start_latency=(area + starting) / HOUR)


def _steps(workload: Workload, run: DagRun) -> Iterator[tuple[float, int]]:
    """Yield when a task of this run begins (+1) and ends (-1), if none waits."""
    for task, begins in ready_seconds(workload.dags[run.dag], run):
        yield begins, 1
        yield begins + run.seconds[task], -1
