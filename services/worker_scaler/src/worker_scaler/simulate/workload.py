"""What the simulated Airflow is to run: DAGs, and which of their runs begin when.

The hot loop of the simulation reads these values, so tasks are indexes into lists, not objects.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dag:
    """One workflow.

    Attributes:
        seconds: how long each task runs, by task index.
        children: the tasks that wait for each task.
        parents: how many tasks each task waits for.
        task_ids: what Airflow calls each task. The tasks of a workflow's stage (the longest chain before
            them) are taken for the mapped instances of one task: a history knows only their mixture.
        roots: the tasks that wait for nobody.
    """

    name: str
    seconds: tuple[float, ...]
    children: tuple[tuple[int, ...], ...]
    parents: tuple[int, ...]
    task_ids: tuple[str, ...]
    roots: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DagRun:
    """One run of a DAG.

    Attributes:
        dag: index into :attr:`Workload.dags`.
        at_seconds: when it begins, since the begin of the simulation.
        seconds: how long each task takes in this run.
        is_scheduled: whether its time was known beforehand (cron).
        ready_seconds: the earliest moment of each task, where a trace gives one; empty is at once.
    """

    dag: int
    at_seconds: float
    seconds: tuple[float, ...]
    is_scheduled: bool = True
    ready_seconds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Everything that arrives, and what a real scaler would have found in the database before it.

    Attributes:
        runs: in order of their begin.
        past: runs of the time before; only the history is learnt from them, they are not simulated.
        seconds: when the last run may begin.
        description: where it is from and what of it is synthetic, for the output.
    """

    dags: tuple[Dag, ...]
    runs: tuple[DagRun, ...]
    past: tuple[DagRun, ...]
    seconds: float
    description: str


def make_dag(
    name: str,
    seconds: Sequence[float],
    parents: Sequence[Sequence[int]],
    task_ids: Sequence[str] = (),
) -> Dag:
    """Build a DAG from each task's parents; without task ids a task is called after its stage.

    Raises:
        ConfigError: the tasks wait for each other in a circle, or for one that does not exist.
    """
    children: list[list[int]] = [[] for _ in seconds]
    try:
        for task, waits_for in enumerate(parents):
            for parent in waits_for:
                children[parent].append(task)
    except IndexError:
        raise _broken(name, "a task waits for one that does not exist") from None
    missing = [len(waits_for) for waits_for in parents]
    stage = [0] * len(seconds)
    order = [task for task, count in enumerate(missing) if count == 0]
    for task in order:
        for child in children[task]:
            stage[child] = max(stage[child], stage[task] + 1)
            missing[child] -= 1
            if missing[child] == 0:
                order.append(child)
    if len(order) < len(seconds):
        raise _broken(name, "its tasks wait for each other in a circle")
    return Dag(
        name=name,
        seconds=tuple(seconds),
        children=tuple(map(tuple, children)),
        parents=tuple(len(waits_for) for waits_for in parents),
        task_ids=tuple(task_ids or (f"stage_{number}" for number in stage)),
        roots=tuple(task for task, waits_for in enumerate(parents) if not waits_for),
    )


def ready_seconds(dag: Dag, run: DagRun) -> Iterator[tuple[int, float]]:
    """Yield when each task of a run is ready, if none waits for a worker; parents before children."""
    begins = list(run.ready_seconds) or [run.at_seconds] * len(run.seconds)
    missing = list(dag.parents)
    order = list(dag.roots)
    for task in order:
        yield task, begins[task]
        ends = begins[task] + run.seconds[task]
        for child in dag.children[task]:
            begins[child] = max(begins[child], ends)
            missing[child] -= 1
            if not missing[child]:
                order.append(child)


def read_workflows(path: Path) -> tuple[Dag, ...]:
    """Read workflows, maybe gzipped: ``{"workflows": [{"name", "tasks": [[seconds, [parents]], …]}]}``.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    try:
        raw = path.read_bytes()
        document = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
        dags = tuple(_dag(index, found) for index, found in enumerate(document["workflows"]))
    except (OSError, EOFError, ValueError, TypeError, KeyError) as err:
        raise ConfigError(
            f"The workflows cannot be read from {str(path)!r}",
            why=f"{type(err).__name__}: {err}",
            remedy='Give a JSON file (maybe gzipped) with "workflows", each with "tasks" = '
            "[[runtime in seconds, [indexes of parents]], …]",
        ) from err
    if not dags:
        raise ConfigError(f"There is no workflow in {str(path)!r}", why="", remedy="Give a file with some")
    return dags


def _dag(index: int, found: Mapping[str, Any]) -> Dag:
    seconds = [float(task[0]) for task in found["tasks"]]
    if any(not 0 <= value < float("inf") for value in seconds):
        raise ValueError(f"workflow {index} has a runtime that is no number of seconds")
    name = str(found.get("name") or f"workflow-{index}")
    return make_dag(name, seconds, [[int(parent) for parent in task[1]] for task in found["tasks"]])


def _broken(name: str, why: str) -> ConfigError:
    return ConfigError(f"Workflow {name!r} is no DAG", why=why, remedy="Correct or leave out the workflow")
