"""The past and the runs to come, from Airflow's own tables: read every few minutes, beside the ticks.

Bounded by the DAG runs of the last days, so that the index on (dag_id, run_id) serves it however long the
history is; a statement_timeout of its own ends it where that is still too much.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple, TypeAlias

import psycopg

from sidecar.errors import Transient
from worker_scaler.history import QUANTILES, Durations, History, NextRun, TaskName, Wave
from worker_scaler.sources.session import detect

if TYPE_CHECKING:
    from sidecar.postgres import Database
    from worker_scaler.sources.schema import Schema


class _Stage(NamedTuple):
    """How a DAG's runs begin: tasks by queue, the median and the most of them, which tasks, what follows."""

    median: dict[str, int]
    most: dict[str, int]
    task_ids: tuple[str, ...]
    waves: tuple[Wave, ...] = ()


_Stages: TypeAlias = dict[str, _Stage]

_STATEMENT_TIMEOUT_MILLISECONDS = 30_000
_TASK_COLUMNS = ("dag_id", "task_id", "run_id", "state", "duration", "queue", "executor", "queued_dttm")
_RUN_COLUMNS = ("dag_id", "run_id", "run_type", "state", "start_date")

_DURATIONS: LiteralString = """
SELECT t.dag_id, t.task_id, count(*),
       percentile_cont(%(quantiles)s::float8[]) WITHIN GROUP (ORDER BY t.duration)
FROM dag_run r JOIN task_instance t USING (dag_id, run_id)
WHERE r.start_date > now() - %(days)s * interval '1 day' AND t.state = 'success' AND t.duration >= 0
GROUP BY t.dag_id, t.task_id
"""

# The first stage: what became ready within 15 s of the run's first task. Without scheduled_dttm (before
# Airflow 3) it is the first to be queued, which a full pool spreads.
_RECENT: LiteralString = """
WITH recent AS (
  SELECT dag_id, run_id FROM (
    SELECT dag_id, run_id, row_number() OVER (PARTITION BY dag_id ORDER BY start_date DESC) AS place
    FROM dag_run
    WHERE run_type = 'scheduled' AND start_date > now() - %(days)s * interval '1 day'
      AND state IN ('success', 'failed')
  ) AS numbered WHERE place <= 20
), ready AS (
"""

_WIDTH: LiteralString = """
), first AS (
  SELECT dag_id, run_id, min(at) AS at FROM ready GROUP BY 1, 2
), width AS (
  SELECT dag_id, run_id, queue, count(*) AS tasks,
         to_json(array_agg(DISTINCT task_id::text))::text AS task_ids
  FROM ready JOIN first USING (dag_id, run_id)
  WHERE ready.at <= first.at + interval '15 seconds' GROUP BY 1, 2, 3
)
SELECT dag_id, queue, percentile_disc(0.5) WITHIN GROUP (ORDER BY tasks), max(tasks),
       (array_agg(task_ids ORDER BY tasks DESC))[1]
FROM width GROUP BY 1, 2
"""

# What follows: of each later task, when its first instance became ready and how many did so together with it.
_WAVES: LiteralString = """
), first AS (
  SELECT dag_id, run_id, min(at) AS at FROM ready GROUP BY 1, 2
), wave AS (
  SELECT dag_id, run_id, task_id, queue, min(at) AS at FROM ready GROUP BY 1, 2, 3, 4
), wide AS (
  SELECT dag_id, wave.task_id, queue, extract(epoch FROM wave.at - first.at)::float8 AS after_seconds,
         count(*) AS tasks
  FROM wave JOIN first USING (dag_id, run_id) JOIN ready USING (dag_id, run_id, task_id, queue)
  WHERE wave.at > first.at + interval '15 seconds' AND ready.at <= wave.at + interval '15 seconds'
  GROUP BY dag_id, run_id, wave.task_id, queue, wave.at, first.at
)
SELECT dag_id, task_id::text, queue, percentile_cont(0.5) WITHIN GROUP (ORDER BY after_seconds),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY tasks)
FROM wide GROUP BY 1, 2, 3 ORDER BY 1, 4, 2
"""

_READY_SCHEDULED: LiteralString = """
SELECT dag_id, run_id, t.task_id, coalesce(t.queue, '') AS queue, t.scheduled_dttm AS at
FROM recent JOIN task_instance t USING (dag_id, run_id) WHERE t.scheduled_dttm IS NOT NULL
"""

_READY_QUEUED: LiteralString = """
SELECT dag_id, run_id, t.task_id, coalesce(t.queue, '') AS queue, t.queued_dttm AS at
FROM recent JOIN task_instance t USING (dag_id, run_id) WHERE t.queued_dttm IS NOT NULL
"""

_NEXT_RUNS: LiteralString = """
SELECT dag_id, next_dagrun_create_after FROM dag
WHERE NOT is_paused AND next_dagrun_create_after > now() - interval '10 minutes'
  AND next_dagrun_create_after < now() + interval '1 day'
"""


class DatabaseHistory:
    """Reads the history. Blocking: call it in a thread. Every part that the role may not read stays empty.

    Args:
        database: Airflow's.
        days: how far back runs are looked at.
    """

    def __init__(self, database: Database, *, days: int) -> None:
        self._database = database
        self._values: dict[str, Any] = {"days": days, "quantiles": list(QUANTILES)}

    def read(self) -> History:
        """Return all of it.

        Raises:
            ConfigError: login refused.
            Transient: no answer in time; a retry may help.
        """
        return self._asked(None)

    def next_runs(self, known: History) -> History:
        """Return ``known`` with its next runs read again, which costs next to nothing. Raises as above."""
        return self._asked(known)

    def _asked(self, known: History | None) -> History:
        options = f"-c statement_timeout={_STATEMENT_TIMEOUT_MILLISECONDS}"
        with self._database.connect(options=options) as connection:
            try:
                return self._read(connection, known)
            except psycopg.Error as err:
                raise Transient(
                    "The history of the tasks could not be read",
                    why=str(err).strip().partition("\n")[0],
                    remedy="Decisions go on without predictions",
                ) from err

    def _read(self, connection: psycopg.Connection[Any], known: History | None) -> History:
        schema = detect(connection)
        durations, stages = (known.durations, _stages_of(known)) if known else self._past(connection, schema)
        runs: list[tuple[str, datetime]] = []
        if schema.can_read("dag", ("dag_id", "is_paused", "next_dagrun_create_after")):
            runs = connection.execute(_next_runs(schema)).fetchall()
        row = connection.execute("SELECT now()").fetchone()
        planned = (
            NextRun(
                dag_id=dag_id,
                at=at.astimezone(UTC),
                width=stage.median,
                width_max=stage.most,
                first_tasks=stage.task_ids,
                waves=stage.waves,
            )
            for dag_id, at in runs
            for stage in (stages.get(dag_id, _Stage({}, {}, ())),)
        )
        return History(
            taken_at=row[0].astimezone(UTC) if row else None,
            durations=durations,
            next_runs=tuple(sorted(planned, key=lambda run: run.at)),
        )

    def _past(
        self, connection: psycopg.Connection[Any], schema: Schema
    ) -> tuple[dict[TaskName, Durations], _Stages]:
        if not (schema.can_read("dag_run", _RUN_COLUMNS) and schema.can_read("task_instance", _TASK_COLUMNS)):
            return {}, {}
        durations = {
            TaskName(dag_id=dag_id, task_id=task_id): Durations(samples=samples, seconds=tuple(seconds))
            for dag_id, task_id, samples, seconds in connection.execute(_DURATIONS, self._values)
        }
        has_ready_time = schema.can_read("task_instance", ("scheduled_dttm",))
        ready = _READY_SCHEDULED if has_ready_time else _READY_QUEUED
        stages: _Stages = {}
        for dag_id, queue, median, most, task_ids in connection.execute(
            _RECENT + ready + _WIDTH, self._values
        ):
            before = stages.get(dag_id, _Stage({}, {}, ()))
            stages[dag_id] = _Stage(
                {**before.median, queue: median},
                {**before.most, queue: most},
                tuple(sorted({*before.task_ids, *json.loads(task_ids)})),
            )
        for dag_id, task_id, queue, after_seconds, tasks in connection.execute(
            _RECENT + ready + _WAVES, self._values
        ):
            stage = stages.get(dag_id, _Stage({}, {}, ()))
            wave = Wave(task_id=task_id, queue=queue, after_seconds=after_seconds, tasks=tasks)
            stages[dag_id] = stage._replace(waves=(*stage.waves, wave))
        return durations, stages


def _stages_of(known: History) -> _Stages:
    return {
        run.dag_id: _Stage(dict(run.width), dict(run.width_max), run.first_tasks, run.waves)
        for run in known.next_runs
    }


def _next_runs(schema: Schema) -> LiteralString:
    if schema.can_read("dag", ("is_stale",)):
        return _NEXT_RUNS + " AND NOT is_stale"
    return _NEXT_RUNS + " AND is_active" if schema.can_read("dag", ("is_active",)) else _NEXT_RUNS
