"""From a trace (see :mod:`worker_scaler.trace`) to a workload.

One fleet consumes all queues of the trace. A trace does not say which runs a cron schedule began: a run
counts as scheduled when it follows the one before it in the same time as that one followed its predecessor.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from sidecar.errors import ConfigError
from worker_scaler.simulate.workload import Dag, DagRun, Workload, make_dag
from worker_scaler.trace import Trace, TraceError, TraceTask, read_trace

_SAME_PERIOD_SECONDS = 60.0  # how much the scheduler's own delays may vary


def read_trace_file(path: Path) -> Workload:
    """Read what ``worker-scaler trace export`` wrote.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            return trace_workload(read_trace(lines))
    except (OSError, UnicodeDecodeError, TraceError) as err:
        raise ConfigError(
            f"The trace {str(path)!r} cannot be read",
            why=str(err),
            remedy="Give a file that 'worker-scaler trace export' wrote",
        ) from err


def trace_workload(trace: Trace) -> Workload:
    """Return a workload that replays a trace; nothing in it is invented."""
    by_run: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, task in enumerate(trace.tasks):
        by_run[task.dag, task.run].append(place)
    begins_by_dag: dict[str, list[float]] = defaultdict(list)
    dags: list[Dag] = []
    runs: list[DagRun] = []
    for (dag, _), places in sorted(by_run.items(), key=lambda item: trace.tasks[item[1][0]].ready_seconds):
        tasks = [trace.tasks[place] for place in places]
        begin = tasks[0].ready_seconds
        runs.append(
            DagRun(
                dag=len(dags),
                at_seconds=begin,
                seconds=tuple(task.runs_seconds for task in tasks),
                is_scheduled=_is_periodic([*begins_by_dag[dag], begin]),
                ready_seconds=tuple(task.ready_seconds for task in tasks),
            )
        )
        begins_by_dag[dag].append(begin)
        dags.append(_dag(dag, places, tasks))
    return Workload(
        dags=tuple(dags),
        runs=tuple(runs),
        past=(),
        seconds=trace.seconds,
        description=f"trace of {len(trace.tasks)} tasks from {trace.source or 'an unnamed source'}",
    )


def _dag(name: str, places: list[int], tasks: list[TraceTask]) -> Dag:
    """Return the DAG of one run; what a task waited for elsewhere is in its moment of readiness."""
    own = {place: index for index, place in enumerate(places)}
    parents = [[own[place] for place in task.after if place in own] for task in tasks]
    return make_dag(name, [task.runs_seconds for task in tasks], parents, [task.task for task in tasks])


def _is_periodic(begins: list[float]) -> bool:
    gaps = [later - earlier for earlier, later in zip(begins[-3:], begins[-2:], strict=False)]
    return len(gaps) == 2 and abs(gaps[1] - gaps[0]) <= _SAME_PERIOD_SECONDS  # noqa: PLR2004 - two gaps, three runs
