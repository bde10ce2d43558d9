"""How many slots the next stages of runs will hold, beyond those that their own run gives free. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker_scaler.forecast.policy import Foresight
from worker_scaler.forecast.slots import share_of_new, share_of_running
from worker_scaler.forecast.waves import FollowedRun
from worker_scaler.history import Durations, TaskName
from worker_scaler.model import Fleet, RunningTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """What is to come.

    Attributes:
        slots: to be ordered for.
        tasks_at: how many tasks more than are there, and when.
    """

    slots: float = 0.0
    tasks_at: tuple[tuple[datetime, int], ...] = ()


def later_stages(
    fleet: Fleet,
    durations: Mapping[TaskName, Durations],
    foresight: Foresight,
    followed: Iterable[FollowedRun],
    remaining: Sequence[tuple[RunningTask, float | None]],
    *,
    now: datetime,
    until: datetime,
) -> Coming:
    """Return what the followed runs will add to a fleet until then.

    ``remaining`` are the fleet's running tasks, each with the seconds it will go on; None is unknown.
    """
    window = foresight.prescale_drain.total_seconds()
    due: dict[str, list[tuple[datetime, float, int]]] = defaultdict(list)
    for run in followed:
        for wave in run.coming(until):
            if wave.queue in fleet.queues:
                name = TaskName(dag_id=run.plan.dag_id, task_id=wave.task_id)
                slots = wave.tasks * share_of_new(name, durations, window)
                due[run.plan.dag_id].append((run.due(wave), slots, wave.tasks))
    if not due:
        return Coming()
    drain = foresight.drain.total_seconds()
    freed: dict[str, float] = defaultdict(float)
    ends = {dag: max((at - now).total_seconds() for at, _, _ in waves) for dag, waves in due.items()}
    for task, left in remaining:
        if left is not None and left <= ends.get(task.dag_id, 0.0):
            freed[task.dag_id] += share_of_running(left, drain)
    slots = sum(max(0.0, sum(s for _, s, _ in waves) - freed[dag]) for dag, waves in due.items())
    tasks_at = ((at, max(0, tasks - int(freed[dag]))) for dag, waves in due.items() for at, _, tasks in waves)
    return Coming(slots=slots, tasks_at=tuple(tasks_at))
