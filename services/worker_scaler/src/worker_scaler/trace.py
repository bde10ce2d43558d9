"""A trace: which tasks became ready when and how long they ran, without a name that says whose. Pure.

``worker-scaler trace export`` writes one from a real database, ``worker-scaler simulate`` replays it. The
text is JSON lines: a header, then one task a line in order of ``ready``::

    {"trace": "worker-scaler", "version": 1, "source": "airflow", "seconds": 86400.0}
    {"ready": 12.5, "runs": 61.2, "queue": "q1", "dag": "d3", "task": "t17", "run": "r204"}
    {"ready": 12.5, "runs": 8.0, "queue": "q1", "dag": "d3", "task": "t18", "run": "r204", "after": [0]}

``ready`` and ``runs`` are seconds: since the trace's begin, and of running. ``after`` (optional) lists tasks,
by their place in the file from 0, that must have ended first; then ``ready`` is the earliest moment. Members
that are not known are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

VERSION = 1
_KIND = "worker-scaler"


class TraceError(ValueError):
    """The text is not a trace; its own text says which line and why. A retry cannot help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceTask:
    """One task instance.

    Attributes:
        ready_seconds: when it could have run at the earliest, since the trace's begin.
        runs_seconds: how long it ran.
        dag, task, run: what it belongs to; invented names that only repeat.
        after: places (from 0) in :attr:`Trace.tasks` of those that must have ended first.
    """

    ready_seconds: float
    runs_seconds: float
    queue: str = "q1"
    dag: str = "d1"
    task: str = "t1"
    run: str = "r1"
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A span of time and the tasks in it, by :attr:`TraceTask.ready_seconds`.

    Attributes:
        seconds: how long it lasts; no task becomes ready later.
        source: where it is from: ``airflow`` for an export, else what made it.
    """

    seconds: float
    tasks: tuple[TraceTask, ...]
    source: str = "airflow"


def write_trace(trace: Trace) -> Iterator[str]:
    """Yield the lines of its text, each with its line end."""
    header = {"trace": _KIND, "version": VERSION, "source": trace.source, "seconds": trace.seconds}
    yield f"{json.dumps(header)}\n"
    for task in trace.tasks:
        line: dict[str, object] = {
            "ready": round(task.ready_seconds, 3),
            "runs": round(task.runs_seconds, 3),
            "queue": task.queue,
            "dag": task.dag,
            "task": task.task,
            "run": task.run,
        }
        if task.after:
            line["after"] = list(task.after)
        yield f"{json.dumps(line)}\n"


def read_trace(lines: Iterable[str]) -> Trace:
    """Return what :func:`write_trace` wrote.

    Raises:
        TraceError: a line is not what it should be.
    """
    header: Mapping[str, object] | None = None
    tasks: list[TraceTask] = []
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        line = _object(text, number)
        if header is None:
            header = _checked_header(line)
        else:
            tasks.append(_task(line, number, places=len(tasks)))
    if header is None:
        raise TraceError("line 1: the text is empty")
    return Trace(
        seconds=_seconds(header, "seconds", 1), source=str(header.get("source", "")), tasks=tuple(tasks)
    )


def _object(text: str, number: int) -> Mapping[str, object]:
    try:
        line = json.loads(text)
    except ValueError as err:
        raise TraceError(f"line {number}: is not JSON: {err}") from None
    if not isinstance(line, dict):
        raise TraceError(f"line {number}: is not an object")
    return line


def _checked_header(line: Mapping[str, object]) -> Mapping[str, object]:
    if line.get("trace") != _KIND:
        raise TraceError('line 1: is not the header of a trace: {"trace": "worker-scaler", "version": 1, …}')
    if line.get("version") != VERSION:
        raise TraceError(f"line 1: is version {line.get('version')!r}, this program reads {VERSION}")
    return line


def _task(line: Mapping[str, object], number: int, *, places: int) -> TraceTask:
    after = line.get("after", [])
    if not isinstance(after, list) or not all(
        isinstance(place, int) and 0 <= place < places for place in after
    ):
        raise TraceError(f"line {number}: 'after' must list places of earlier tasks, it is {after!r}")
    return TraceTask(
        ready_seconds=_seconds(line, "ready", number),
        runs_seconds=_seconds(line, "runs", number),
        queue=str(line.get("queue", "q1")),
        dag=str(line.get("dag", "d1")),
        task=str(line.get("task", "t1")),
        run=str(line.get("run", "r1")),
        after=tuple(after),
    )


def _seconds(line: Mapping[str, object], name: str, number: int) -> float:
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise TraceError(f"line {number}: {name!r} must be seconds, it is {value!r}")
    return float(value)
