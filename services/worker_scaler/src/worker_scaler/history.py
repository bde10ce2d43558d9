"""What Airflow's own past says of the near future: how long tasks take, and which runs come next. Pure.

Read rarely (minutes), because it changes slowly; a policy that predicts takes it as an argument and must do
without it: ``History()`` knows nothing, and that is a fair answer of a fresh database or a small role.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""At which shares of its past runs a task's durations are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskName:
    """Which task of which DAG: what durations are kept by."""

    dag_id: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long the past runs of one task took.

    Attributes:
        samples: how many successful runs were looked at; at least 1.
        seconds: the duration at each of :data:`QUANTILES`, never decreasing.
    """

    samples: int
    seconds: tuple[float, ...]

    def at(self, share: float) -> float:
        """Return the seconds that ``share`` (0 to 1) of the runs did not exceed; linear in between."""
        index = bisect_right(QUANTILES, share)
        if index >= len(QUANTILES):
            return self.seconds[-1]
        below, above = QUANTILES[index - 1], QUANTILES[index]
        part = (share - below) / (above - below)
        return self.seconds[index - 1] + part * (self.seconds[index] - self.seconds[index - 1])

    def share_at(self, seconds: float) -> float:
        """Return which share of the runs took at most ``seconds``; the inverse of :meth:`at`."""
        if seconds >= self.seconds[-1]:
            return 1.0
        if seconds < self.seconds[0]:
            return 0.0
        index = bisect_right(self.seconds, seconds)
        low, high = self.seconds[index - 1], self.seconds[index]
        part = (seconds - low) / (high - low)
        return QUANTILES[index - 1] + part * (QUANTILES[index] - QUANTILES[index - 1])

    def remaining(self, age_seconds: float, *, share: float = 0.5) -> float | None:
        """Return how many more seconds a run of this age takes, at this share of those that lived so long.

        None when it is older than every past run: nothing is known of it, least of all that it ends soon.
        """
        lived = self.share_at(age_seconds)
        if lived >= 1.0:
            return None
        return max(0.0, self.at(lived + share * (1.0 - lived)) - age_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One later stage of a run: the tasks of one name that become ready together.

    Attributes:
        after_seconds: from the run's first task to the first of these, both ready (median of past runs).
        tasks: how many become ready at once (median of past runs).
    """

    task_id: str
    queue: str
    after_seconds: float
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRun:
    """One DAG run that the scheduler will create, and how broad its first stage was in the past.

    Attributes:
        at: the earliest moment at which it is created (aware, UTC).
        width: queue to how many tasks the first stage of a run puts there at once (median of past runs);
            empty when the DAG never ran in the time looked at.
        width_max: the same, of the broadest past run.
        first_tasks: the task ids of that first stage; empty where they are not known.
        waves: the stages after it, soonest first.
    """

    dag_id: str
    at: datetime
    width: Mapping[str, int] = field(default_factory=dict)
    width_max: Mapping[str, int] = field(default_factory=dict)
    first_tasks: tuple[str, ...] = ()
    waves: tuple[Wave, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is known of the past and of the runs to come.

    Attributes:
        taken_at: when it was read; None when it never was.
        durations: by task; a task without a successful run is absent.
        next_runs: the next run of each DAG that has one, soonest first.
    """

    taken_at: datetime | None = None
    durations: Mapping[TaskName, Durations] = field(default_factory=dict)
    next_runs: tuple[NextRun, ...] = ()

    def arrivals(self, queues: Iterable[str], *, after: datetime, until: datetime) -> int:
        """Return how many tasks the runs created in ``(after, until]`` put into these queues at first."""
        wanted = set(queues)
        return sum(
            width
            for run in self.next_runs
            if after < run.at <= until
            for queue, width in run.width.items()
            if queue in wanted
        )

    def remaining(self, dag_id: str, task_id: str, *, age_seconds: float, share: float = 0.5) -> float | None:
        """Return :meth:`Durations.remaining` of one task; None when nothing is known of it."""
        durations = self.durations.get(TaskName(dag_id=dag_id, task_id=task_id))
        return durations.remaining(age_seconds, share=share) if durations else None
