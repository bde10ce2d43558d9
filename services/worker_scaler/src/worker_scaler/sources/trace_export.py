"""``worker-scaler trace export``: what Airflow's own table says of the last days, without anybody's names.

DAGs, tasks, runs and queues become ``d1 t1 r1 q1``; times become seconds since the begin of the span. Nothing
else leaves the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, LiteralString

import psycopg

from sidecar.errors import ConfigError, Transient
from worker_scaler.sources.session import detect
from worker_scaler.trace import Trace, TraceTask

if TYPE_CHECKING:
    from datetime import datetime

    from sidecar.postgres import Database
    from worker_scaler.executors import Executors

_STATEMENT_TIMEOUT_MILLISECONDS = 300_000

_TASKS: LiteralString = """
SELECT {ready}, t.duration, coalesce(t.queue, ''), t.executor, t.dag_id, t.task_id, t.run_id,
       now() - %(days)s * interval '1 day'
FROM dag_run r JOIN task_instance t USING (dag_id, run_id)
WHERE r.start_date > now() - (%(days)s + 1) * interval '1 day' AND t.duration >= 0
  AND t.state IN ('success', 'failed', 'up_for_retry')
  AND {ready} > now() - %(days)s * interval '1 day'
ORDER BY 1, t.dag_id, t.run_id, t.task_id
"""
_READY_SCHEDULED: LiteralString = "coalesce(t.scheduled_dttm, t.queued_dttm, t.start_date)"
_READY_QUEUED: LiteralString = "coalesce(t.queued_dttm, t.start_date)"


def export_trace(database: Database, *, days: float, executors: Executors) -> Trace:
    """Return the tasks of Celery's executors that became ready in the last ``days``.

    Raises:
        ConfigError: the role may not read what a trace needs.
        Transient: no answer in time; a retry may help.
    """
    options = f"-c statement_timeout={_STATEMENT_TIMEOUT_MILLISECONDS}"
    with database.connect(options=options) as connection:
        try:
            has_ready_time = detect(connection).can_read("task_instance", ("scheduled_dttm",))
            statement = _TASKS.replace("{ready}", _READY_SCHEDULED if has_ready_time else _READY_QUEUED)
            rows = connection.execute(statement, {"days": days}).fetchall()
        except psycopg.ProgrammingError as err:
            raise ConfigError(
                "The trace cannot be read",
                why=str(err).strip().partition("\n")[0],
                remedy="Grant the database's user what 'worker-scaler grant-sql' prints",
            ) from err
        except psycopg.Error as err:
            why = str(err).strip().partition("\n")[0]
            raise Transient("The trace cannot be read", why=why, remedy="Try fewer --days") from err
    ours = [row for row in rows if executors.run_on_celery(row[3])]
    return Trace(seconds=days * 86400, tasks=tuple(_tasks(ours)), source="airflow")


def _tasks(
    rows: Iterable[tuple[datetime, float, str, str | None, str, str, str, datetime]],
) -> Iterable[TraceTask]:
    names = _Names()
    for ready, duration, queue, _, dag, task, run, begin in rows:
        yield TraceTask(
            ready_seconds=max(0.0, (ready - begin).total_seconds()),
            runs_seconds=duration,
            queue=names.of("q", queue),
            dag=names.of("d", dag),
            task=names.of("t", dag, task),
            run=names.of("r", dag, run),
        )


class _Names:
    """Invents names: the same for the same, and telling nothing."""

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, ...], str]] = defaultdict(dict)

    def of(self, kind: str, *real: str) -> str:
        known = self._known[kind]
        return known.setdefault(real, f"{kind}{len(known) + 1}")
