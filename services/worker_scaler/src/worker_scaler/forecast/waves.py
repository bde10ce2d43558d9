"""What follows the first stage of a run: the next stages come when they came in past runs. Pure.

A cron schedule announces the first stage only, but what comes then is known as well: a task that splits the
work takes a minute, and three hundred follow it. A run is followed through its plan; each stage that is seen
says anew where in the plan the run is, so that a slow run is not expected too early.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker_scaler.history import NextRun, Wave
from worker_scaler.model import Reading

OVERDUE = timedelta(seconds=30)
"""How long a run may be late before it is no more expected: the scheduler's loop, the parsing of files."""

LATE_SHARE = 0.5
"""Of the time since the stage before: how much longer than in the past it may take and still be expected."""

Starts = Mapping[str, Mapping[str, datetime | None]]
"""By DAG and task: when the youngest instance that is there began to run; None while one is queued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedRun:
    """One run, and where in its plan it is.

    Attributes:
        plan: what past runs did.
        anchor_at: when something of the plan was last seen to begin; at first the run's own begin.
        anchor_seconds: where in the plan that is.
        done: tasks of the plan that were seen, or given up.
    """

    plan: NextRun
    anchor_at: datetime
    anchor_seconds: float = 0.0
    done: frozenset[str] = frozenset()

    def due(self, wave: Wave) -> datetime:
        """Return when this stage is expected."""
        return self.anchor_at + timedelta(seconds=wave.after_seconds - self.anchor_seconds)

    def coming(self, until: datetime) -> list[Wave]:
        """Return the stages that are expected until this moment."""
        return [wave for wave in self.plan.waves if wave.task_id not in self.done and self.due(wave) <= until]


def follow(
    runs: Iterable[FollowedRun],
    next_runs: Iterable[NextRun],
    reading: Reading,
    *,
    now: datetime,
    until: datetime,
) -> tuple[FollowedRun, ...]:
    """Return the runs to follow now: the known ones, moved on by what is seen, and those that begin."""
    planned = {
        (run.dag_id, run.at): run for run in next_runs if now - OVERDUE < run.at <= until and run.waves
    }
    starts = _starts(reading)
    found: dict[tuple[str, datetime], FollowedRun] = {}
    for run in runs:
        key = (run.plan.dag_id, run.plan.at)
        if run.plan.at > now and key not in planned:
            continue  # it was put off
        moved = _moved(run, starts.get(run.plan.dag_id, {}), now=now)
        planned.pop(key, None)
        if len(moved.done) < len(moved.plan.waves):
            found[key] = moved
    for key, plan in planned.items():
        found[key] = FollowedRun(plan=plan, anchor_at=plan.at)
    return tuple(found.values())


def _moved(run: FollowedRun, starts: Mapping[str, datetime | None], *, now: datetime) -> FollowedRun:
    if now < run.plan.at:
        return run
    if not starts and now > run.plan.at + OVERDUE and now > run.anchor_at + OVERDUE:
        # Nothing of this DAG is there any more: it has failed, or what is left of it runs elsewhere.
        return replace(run, done=frozenset(wave.task_id for wave in run.plan.waves))
    seen = {task for task, began in starts.items() if began is None or began >= run.plan.at}
    arrived = [wave for wave in run.plan.waves if wave.task_id in seen and wave.task_id not in run.done]
    if arrived:
        last = max(wave.after_seconds for wave in arrived)
        done = run.done | {wave.task_id for wave in arrived}
        run = replace(run, anchor_at=now, anchor_seconds=max(last, run.anchor_seconds), done=done)
    late = {
        wave.task_id
        for wave in run.plan.waves
        if now > run.due(wave) + OVERDUE + LATE_SHARE * max(timedelta(0), run.due(wave) - run.anchor_at)
    }
    return replace(run, done=run.done | late) if late - run.done else run


def _starts(reading: Reading) -> Starts:
    found: dict[str, dict[str, datetime | None]] = defaultdict(dict)
    for task in reading.running_tasks:
        known = found[task.dag_id].get(task.task_id)
        if task.started_at is not None and (known is None or task.started_at > known):
            found[task.dag_id][task.task_id] = task.started_at
    for group in reading.queued_tasks:
        found[group.dag_id][group.task_id] = None
    return found
