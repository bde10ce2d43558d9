"""From a played world to the numbers that policies are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker_scaler.simulate.bounds import HOUR, Bounds
from worker_scaler.simulate.measure import Measure, quantile
from worker_scaler.simulate.workload import Workload

_COLUMNS = (
    ("policy", "policy", "{}"),
    ("worker_hours", "worker-h", "{:.0f}"),
    ("worker_hours_over_clairvoyant", "x clairv.", "{:.2f}"),
    ("wait_p50_seconds", "wait p50", "{:.0f} s"),
    ("wait_p95_seconds", "p95", "{:.0f} s"),
    ("wait_p99_seconds", "p99", "{:.0f} s"),
    ("first_stage_wait_p95_seconds", "cron p95", "{:.0f} s"),
    ("tasks_killed", "killed", "{}"),
    ("lost_task_hours", "lost h", "{:.0f}"),
    ("direction_changes_per_hour", "turns/h", "{:.1f}"),
    ("api_calls", "API calls", "{}"),
    ("time_to_zero_seconds", "to zero", "{:.0f} s"),
)


def summary(policy: str, measure: Measure, limits: Bounds) -> dict[str, Any]:
    """Return what one policy came to. A task that was killed and began again waited twice."""
    worker_hours = measure.billed_seconds / HOUR
    done_at = measure.done_at if measure.done_at is not None else measure.ended_at
    return {
        "policy": policy,
        "worker_hours": round(worker_hours, 2),
        "worker_hours_over_clairvoyant": round(worker_hours / limits.clairvoyant, 4)
        if limits.clairvoyant
        else None,
        "worker_hours_over_clairvoyant_with_start_latency": (
            round(worker_hours / limits.clairvoyant_with_start_latency, 4)
            if limits.clairvoyant_with_start_latency
            else None
        ),
        "tasks": len(measure.waits),
        "tasks_killed": measure.killed_tasks,
        "lost_task_hours": round(measure.lost_seconds / HOUR, 3),
        "wait_mean_seconds": round(sum(measure.waits) / len(measure.waits), 2) if measure.waits else 0.0,
        "wait_p50_seconds": round(quantile(measure.waits, 0.5), 2),
        "wait_p95_seconds": round(quantile(measure.waits, 0.95), 2),
        "wait_p99_seconds": round(quantile(measure.waits, 0.99), 2),
        "first_stage_wait_p50_seconds": round(quantile(measure.first_waits, 0.5), 2),
        "first_stage_wait_p95_seconds": round(quantile(measure.first_waits, 0.95), 2),
        "direction_changes_per_hour": round(measure.direction_changes / (measure.ended_at / HOUR), 2)
        if measure.ended_at
        else 0.0,
        "workers_started": measure.started,
        "api_calls": sum(measure.calls.values()),
        "api_calls_by_action": dict(sorted(measure.calls.items())),
        "time_to_zero_seconds": round(measure.ended_at - done_at, 1) if measure.is_at_zero else None,
    }


def document(
    workload: Workload,
    limits: Bounds,
    summaries: Sequence[Mapping[str, Any]],
    *,
    seed: int,
    terms: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the whole output: what was simulated, the bounds, and each policy."""
    return {
        "workload": workload.description,
        "workflows": len({dag.name for dag in workload.dags}),
        "runs": len(workload.runs),
        "tasks": sum(len(run.seconds) for run in workload.runs),
        "seed": seed,
        "days": round(workload.seconds / (24 * HOUR), 4),
        "terms": dict(terms),
        "clairvoyant_worker_hours": round(limits.clairvoyant, 2),
        "clairvoyant_with_start_latency_worker_hours": round(limits.clairvoyant_with_start_latency, 2),
        "policies": list(summaries),
    }


def table(found: Mapping[str, Any]) -> str:
    """Return the output for people."""
    rows = [[title for _, title, _ in _COLUMNS]]
    rows += [
        [shape.format(line[key]) if line[key] is not None else "-" for key, _, shape in _COLUMNS]
        for line in found["policies"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    head = (
        f"{found['workload']}\n{found['runs']} runs, {found['tasks']} tasks, {found['days']:g} days, "
        f"seed {found['seed']}. Clairvoyant {found['clairvoyant_worker_hours']:.0f} worker-hours, with start "
        f"latency {found['clairvoyant_with_start_latency_worker_hours']:.0f}.\n"
    )
    return "\n".join([head, *lines])
