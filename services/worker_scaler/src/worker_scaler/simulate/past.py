"""What Airflow's database would tell of the simulated past: finished tasks, and the next runs of each DAG.

Only what has happened is learnt: the runs of the time before, and the tasks that the world has finished.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from statistics import median, median_high

from worker_scaler.history import QUANTILES, Durations, History, NextRun, TaskName, Wave
from worker_scaler.simulate.moments import moment
from worker_scaler.simulate.workload import Dag, DagRun, Workload, ready_seconds
from worker_scaler.simulate.world import World

QUEUE = "default"
REMEMBERED_RUNS = 500
WAVE_RUNS = 5
TOGETHER_SECONDS = 15.0


class SimulatedPast:
    """Implements the scaler's ``Past`` port on a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._samples: dict[TaskName, list[float]] = defaultdict(list)
        self._durations: dict[TaskName, Durations] = {}
        self._first: dict[str, Dag] = {}
        self._begins: dict[str, list[float]] = defaultdict(list)
        self._waves = waves_of(world.workload)
        self._learnt_runs = 0
        dags = world.workload.dags
        names = {run.dag: _names(dags[run.dag]) for run in world.workload.past}
        for run in world.workload.past:
            self._first[dags[run.dag].name] = dags[run.dag]
            of_task = {task_id: self._samples[name] for task_id, name in names[run.dag].items()}
            for task_id, seconds in zip(dags[run.dag].task_ids, run.seconds, strict=True):
                of_task[task_id].append(seconds)
        for run in world.workload.runs:
            if run.is_scheduled:
                self._begins[dags[run.dag].name].append(run.at_seconds)
        self._digest(self._samples)

    def read(self) -> History:
        """Return what is known now."""
        self._learn()
        return History(
            taken_at=moment(self._world.now), durations=dict(self._durations), next_runs=self._next_runs()
        )

    def next_runs(self, known: History) -> History:
        """Return ``known`` with its next runs read again."""
        return replace(known, next_runs=self._next_runs())

    def _learn(self) -> None:
        world = self._world
        changed = set()
        for progress, task, seconds in world.finished:
            name = _name(progress.dag, task)
            samples = self._samples[name]
            samples.append(seconds)
            del samples[:-REMEMBERED_RUNS]
            changed.add(name)
        world.finished.clear()
        self._digest(changed)
        runs = world.workload.runs
        while self._learnt_runs < len(runs) and runs[self._learnt_runs].at_seconds < world.now:
            dag = world.workload.dags[runs[self._learnt_runs].dag]
            self._first[dag.name] = dag
            self._learnt_runs += 1

    def _digest(self, names: Iterable[TaskName]) -> None:
        for name in names:
            ordered = sorted(self._samples[name])
            last = len(ordered) - 1
            self._durations[name] = Durations(
                samples=len(ordered), seconds=tuple(ordered[round(share * last)] for share in QUANTILES)
            )

    def _next_runs(self) -> tuple[NextRun, ...]:
        found = []
        for name, begins in self._begins.items():
            place = bisect_right(begins, self._world.now)
            if place < len(begins) and name in self._first:
                dag = self._first[name]
                roots = dag.roots
                found.append(
                    NextRun(
                        dag_id=name,
                        at=moment(begins[place]),
                        width={QUEUE: len(roots)},
                        width_max={QUEUE: len(roots)},
                        first_tasks=tuple(sorted({dag.task_ids[task] for task in roots})),
                        waves=self._waves.get(name, ()),
                    )
                )
        return tuple(sorted(found, key=lambda run: run.at))


def waves_of(workload: Workload) -> dict[str, tuple[Wave, ...]]:
    """Return what followed the first stages of the past's last runs, by DAG: as if no task had waited."""
    last: dict[int, list[DagRun]] = defaultdict(list)
    for run in workload.past:
        last[run.dag] = [*last[run.dag][1 - WAVE_RUNS :], run]
    return {workload.dags[dag].name: _waves(workload.dags[dag], runs) for dag, runs in last.items()}


def _waves(dag: Dag, runs: Iterable[DagRun]) -> tuple[Wave, ...]:
    begins: dict[str, list[float]] = defaultdict(list)
    widths: dict[str, list[int]] = defaultdict(list)
    for run in runs:
        ready: dict[str, list[float]] = defaultdict(list)
        for task, begin in ready_seconds(dag, run):
            ready[dag.task_ids[task]].append(begin - run.at_seconds)
        for task_id, moments in ready.items():
            first = min(moments)
            if first > TOGETHER_SECONDS or task_id not in {dag.task_ids[task] for task in dag.roots}:
                begins[task_id].append(first)
                widths[task_id].append(sum(1 for at in moments if at <= first + TOGETHER_SECONDS))
    found = (
        Wave(task_id=task_id, queue=QUEUE, after_seconds=median(begins[task_id]), tasks=median_high(width))
        for task_id, width in widths.items()
    )
    return tuple(sorted(found, key=lambda wave: (wave.after_seconds, wave.task_id)))


def _names(dag: Dag) -> dict[str, TaskName]:
    return {task_id: TaskName(dag_id=dag.name, task_id=task_id) for task_id in dict.fromkeys(dag.task_ids)}


def _name(dag: Dag, task: int) -> TaskName:
    return TaskName(dag_id=dag.name, task_id=dag.task_ids[task])
