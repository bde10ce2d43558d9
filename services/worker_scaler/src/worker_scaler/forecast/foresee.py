"""From history, start latencies and the present to one fleet's outlook. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from worker_scaler.forecast.latency import StartLatencies
from worker_scaler.forecast.policy import Foresight
from worker_scaler.forecast.slots import WHOLE, share_of_new, share_of_running
from worker_scaler.forecast.stages import later_stages
from worker_scaler.forecast.waves import OVERDUE, FollowedRun
from worker_scaler.history import Durations, History, NextRun, TaskName
from worker_scaler.matching import Directory
from worker_scaler.model import Fleet, Reading, RunningTask, Sighting
from worker_scaler.outlook import Outlook

LATE_QUANTILE = 0.99
"""A worker pending for longer than nearly all before it may not come at all."""


def foresee(
    fleet: Fleet,
    sighting: Sighting,
    reading: Reading,
    history: History,
    latencies: StartLatencies,
    *,
    now: datetime,
    tick: timedelta,
    followed: Iterable[FollowedRun] = (),
) -> Outlook:
    """Return what is expected of one fleet.

    Args:
        fleet: its policy.
        sighting: its service.
        reading: the queues, with their tasks by name where the source tells them.
        history: what the past says; ``History()`` when it could not be read.
        latencies: of its workers' starts.
        now: the scaler's time.
        tick: from one decision to the next.
        followed: the runs whose next stages are foreseen.
    """
    foresight = fleet.foresight
    is_learnt = bool(latencies.ordered)
    start_latency = latencies.at(LATE_QUANTILE) if is_learnt else None
    if foresight is None:
        return Outlook(start_latency_seconds=start_latency)
    remaining = [(task, _remaining(task, history, reading.taken_at)) for task in _running(fleet, reading)]
    expected, imminent = 0.0, 0
    if foresight.prescale:
        until = now + lead(foresight, latencies) + tick
        runs = _coming(fleet, reading, history.next_runs, now=now, until=until)
        expected = sum(_slots(run, fleet, history.durations, foresight) for run in runs)
        imminent = sum(_width(run, fleet) for run in runs if run.at <= now + tick)
        if foresight.later_stages:
            coming = later_stages(
                fleet, history.durations, foresight, followed, remaining, now=now, until=until
            )
            expected += coming.slots
            imminent += sum(tasks for due, tasks in coming.tasks_at if due <= now + tick)
    return Outlook(
        lead_demand_tasks=math.ceil(round(expected, 6)),
        imminent_tasks=imminent,
        drained_tasks=_drained(fleet, reading, history.durations, foresight, (left for _, left in remaining)),
        remaining_seconds_by_arn=_by_worker(remaining, sighting) if foresight.order else {},
        start_latency_seconds=start_latency,
    )


def lead(foresight: Foresight, latencies: StartLatencies) -> timedelta:
    """Return how long before they are needed workers are ordered."""
    return timedelta(seconds=latencies.at(foresight.lead_quantile))


def _running(fleet: Fleet, reading: Reading) -> list[RunningTask]:
    return [task for task in reading.running_tasks if task.queue in fleet.queues]


def _remaining(task: RunningTask, history: History, now: datetime) -> float | None:
    if task.started_at is None:
        return None
    age = max(0.0, (now - task.started_at).total_seconds())
    return history.remaining(task.dag_id, task.task_id, age_seconds=age)


def _drained(
    fleet: Fleet,
    reading: Reading,
    durations: Mapping[TaskName, Durations],
    foresight: Foresight,
    remaining: Iterable[float | None],
) -> int:
    """Return how many slots get free, and are used again, sooner than a new worker would help."""
    window = foresight.drain.total_seconds()
    if window <= 0:
        return 0
    freed = sum(WHOLE - share_of_running(left, window) for left in remaining)
    for group in reading.queued_tasks:
        if group.queue in fleet.queues:
            name = TaskName(dag_id=group.dag_id, task_id=group.task_id)
            freed += group.tasks * (WHOLE - share_of_new(name, durations, window))
    return math.floor(round(freed, 6))


def _coming(
    fleet: Fleet, reading: Reading, runs: Iterable[NextRun], *, now: datetime, until: datetime
) -> list[NextRun]:
    """Return the runs whose first tasks are about to be queued; a late one until something of it is seen."""
    seen = {group.dag_id for group in reading.queued_tasks} | {task.dag_id for task in reading.running_tasks}
    return [
        run
        for run in runs
        if now - OVERDUE < run.at <= until
        and (run.at > now or run.dag_id not in seen)
        and not run.width.keys().isdisjoint(fleet.queues)
    ]


def _width(run: NextRun, fleet: Fleet) -> int:
    return sum(width for queue, width in run.width.items() if queue in fleet.queues)


def _slots(
    run: NextRun, fleet: Fleet, durations: Mapping[TaskName, Durations], foresight: Foresight
) -> float:
    """Return how many slots a run's first stage will hold: its width times its tasks' mean share."""
    window = foresight.prescale_drain.total_seconds()
    shares = [
        share_of_new(TaskName(dag_id=run.dag_id, task_id=task_id), durations, window)
        for task_id in run.first_tasks
    ]
    return _width(run, fleet) * (sum(shares) / len(shares) if shares else WHOLE)


def _by_worker(remaining: Iterable[tuple[RunningTask, float | None]], sighting: Sighting) -> dict[str, float]:
    """Return until when each worker holds its tasks; absent where one of them has outlived all history."""
    directory = Directory(sighting.workers)
    longest: dict[str, float] = {}
    for task, left in remaining:
        seconds = math.inf if left is None else left
        longest[task.host] = max(longest.get(task.host, 0.0), seconds)
    return {
        worker.arn: seconds
        for host, seconds in longest.items()
        if seconds < math.inf
        for worker in directory.named(host)
    }
