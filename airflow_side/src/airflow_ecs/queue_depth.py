"""``airflow-ecs queue-depth --output json``: what worker_scaler's ``command`` source reads (docs/adr/0004).

One statement through Airflow's own session, so that all numbers are of one moment. It prints the document and
ends with 0, or prints nothing on standard output and ends with 1: half a reading never passes for a small
    one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

VERSION = 1
# Of Airflow and its providers; their tasks are no work for Celery's workers.
_OTHER_EXECUTORS = frozenset(
    {
        "AwsBatchExecutor",
        "AwsEcsExecutor",
        "AwsLambdaExecutor",
        "DebugExecutor",
        "EdgeExecutor",
        "KubernetesExecutor",
        "LocalExecutor",
        "SequentialExecutor",
    }
)
_COUNTED = ("queued", "running", "restarting", "scheduled")


@dataclass(frozen=True, slots=True)
class Row:
    """One group of task instances.

    Attributes:
        queue: None only where the default queue is meant.
        executor: what the DAG's author wrote; None is the default executor.
        hostname: where they run; empty for those that do not.
        tasks: how many.
        oldest_queued_at: when the oldest was queued.
    """

    queue: str
    executor: str | None
    state: str
    hostname: str
    tasks: int
    oldest_queued_at: datetime | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--output", choices=("json",), default="json", help="the only one so far")


def run(_arguments: argparse.Namespace) -> int:
    """Print the document; return 1, and say why on standard error, when the database does not answer."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Airflow's logs are no part of the document
            observed_at, rows = read()
    except Exception as err:  # noqa: BLE001  # whatever the database says; its text may hold the URL, so only its kind
        print(  # noqa: T201  # this is what it is for
            f"the queue depth is not known: {type(err).__name__}. Check [database] sql_alchemy_conn:"
            " airflow db check",
            file=sys.stderr,
        )
        return 1
    print(json.dumps(document(rows, observed_at=observed_at)))  # noqa: T201  # this is what it is for
    return 0


def document(rows: Iterable[Row], *, observed_at: datetime) -> dict[str, Any]:
    """Return the document of these rows; those of other executors are left out."""
    queues: dict[str, dict[str, Any]] = {}
    for row in rows:
        if (row.executor or "").rpartition(".")[2] in _OTHER_EXECUTORS:
            continue
        depth = queues.setdefault(
            row.queue,
            {**dict.fromkeys(_COUNTED, 0), "oldest_queued_age_seconds": None, "busy_hosts": {}},
        )
        depth[row.state] += row.tasks
        if row.state in {"running", "restarting"}:
            depth["busy_hosts"][row.hostname] = depth["busy_hosts"].get(row.hostname, 0) + row.tasks
        if row.state == "queued" and row.oldest_queued_at is not None:
            age = max(0.0, (observed_at - row.oldest_queued_at).total_seconds())
            depth["oldest_queued_age_seconds"] = max(age, depth["oldest_queued_age_seconds"] or 0.0)
    return {
        "version": VERSION,
        "observed_at": observed_at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),  # noqa: UP017  # Python 3.10
        "complete": True,
        "queues": queues,
    }


def read() -> tuple[datetime, list[Row]]:
    """Ask the database; returns its own time and the groups. Raises whatever Airflow's session raises."""
    from airflow.models.taskinstance import (  # type: ignore[import-not-found]  # noqa: PLC0415  # of the image
        TaskInstance,
    )
    from airflow.utils.session import (  # type: ignore[import-not-found]  # noqa: PLC0415  # the same
        create_session,
    )
    from sqlalchemy import func, literal, select  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # the same

    here = TaskInstance
    grouped = (
        select(
            here.queue,
            here.executor,
            here.state,
            func.coalesce(here.hostname, "").label("hostname"),
            func.count().label("tasks"),
            func.min(here.queued_dttm).label("oldest"),
        )
        .where(here.state.in_(_COUNTED))
        .group_by(here.queue, here.executor, here.state, func.coalesce(here.hostname, ""))
        .subquery()
    )
    # The clock's row is there even when no task is, so an empty answer is never taken for an empty queue.
    clock = select(func.current_timestamp().label("taken_at"), literal(1).label("one")).subquery()
    statement = select(clock.c.taken_at, grouped).join_from(clock, grouped, clock.c.one == 1, isouter=True)
    with create_session() as session:
        answers = session.execute(statement).all()
    (taken_at, *_), *_ = answers
    return _aware(taken_at), [
        Row(queue, executor, state, hostname, tasks, None if oldest is None else _aware(oldest))
        for _, queue, executor, state, hostname, tasks, oldest in answers
        if state is not None
    ]


def _aware(moment: datetime | str) -> datetime:
    """SQLite has neither times nor zones; everything in it is UTC."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found  # noqa: UP017  # Python 3.10
