"""Where the queue depth is read: does it answer, is anything left out, may the role do more than it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, LiteralString

import psycopg

from sidecar.app import Finding
from sidecar.errors import SidecarError
from worker_scaler.checks.findings import problem, warning
from worker_scaler.sources.schema import blind_spots
from worker_scaler.sources.session import schema_of

if TYPE_CHECKING:
    from sidecar.postgres import Database
    from worker_scaler.model import Fleet, Reading
    from worker_scaler.ports import Source
    from worker_scaler.settings import WorkerScalerSettings

_TABLES_OF_SECRETS = ("connection", "variable", "xcom", "ab_user", "rendered_task_instance_fields")

_TOO_WIDE: LiteralString = """
SELECT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
       coalesce(array_agg(c.relname ORDER BY c.relname) FILTER (
         WHERE pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')), '{}'),
       coalesce(array_agg(c.relname ORDER BY c.relname) FILTER (
         WHERE c.relname = ANY(%s) AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')), '{}')
FROM pg_catalog.pg_class c
WHERE c.relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(c.oid)
  AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""


def source_findings(
    settings: WorkerScalerSettings, source: Source, database: Database | None, fleets: Sequence[Fleet]
) -> Iterator[Finding]:
    """Yield what is to be said of the source. Blocking."""
    what = f"source {settings.source}: a reading"
    try:
        reading = source.read()
    except SidecarError as err:
        yield problem(what, err)
        return
    tasks = sum(depth.demand for depth in reading.queues.values())
    yield Finding(what=what, verdict="ok", why=f"{tasks} tasks in {len(reading.queues)} queues")
    if settings.source == "database" and database is not None:
        yield from _rights(database)
    yield from _parallelism(settings, reading, fleets)


def _rights(database: Database) -> Iterator[Finding]:
    what = "database: the rights of the role"
    try:
        spots = blind_spots(schema_of(database))
        with database.connect() as connection:
            row = connection.execute(_TOO_WIDE, (list(_TABLES_OF_SECRETS),)).fetchone()
    except SidecarError as err:
        yield warning(what, err)
        return
    except psycopg.Error as err:
        yield Finding(what=what, verdict="warning", why=str(err).strip().partition("\n")[0])
        return
    for spot in spots:
        yield Finding(
            what="database: what is counted",
            verdict="warning",
            why=spot,
            remedy="Run what 'worker-scaler grant-sql' prints",
        )
    too_wide = _too_wide(*row) if row else ""
    yield Finding(
        what=what,
        verdict="warning" if too_wide else "ok",
        why=too_wide,
        remedy="Give the scaler a role of its own with what 'worker-scaler grant-sql' prints"
        if too_wide
        else "",
    )


def _too_wide(is_superuser: bool, writable: Sequence[str], secret: Sequence[str]) -> str:
    if is_superuser:
        return "it is a superuser, and needs to read a few columns"
    if writable:
        return f"it may write {len(writable)} tables ({', '.join(writable[:3])}), and needs to write none"
    return f"it may read {', '.join(secret)}, and needs none of it" if secret else ""


def _parallelism(
    settings: WorkerScalerSettings, reading: Reading, fleets: Sequence[Fleet]
) -> Iterator[Finding]:
    what = "Airflow's parallelism and the fleets' slots"
    slots = sum(fleet.max_workers * fleet.tasks_per_worker for fleet in fleets if fleet.queues)
    parallelism = reading.limits.parallelism if reading.limits else None
    if settings.airflow_parallelism is None:
        yield Finding(
            what=what,
            verdict="warning",
            why=f"not compared: the fleets have {slots} slots, [core] parallelism is not known",
            remedy="Set WORKER_SCALER_AIRFLOW_PARALLELISM to Airflow's [core] parallelism",
        )
    elif parallelism is None:
        yield Finding(what=what, verdict="warning", why="not compared: no scheduler is seen")
    elif parallelism < slots:
        yield Finding(
            what=what,
            verdict="warning",
            why=f"all schedulers together queue {parallelism} tasks, the fleets have {slots} slots: "
            f"{slots - parallelism} can never be used",
            remedy="Raise [core] parallelism, or lower max_workers",
        )
    else:
        yield Finding(what=what, verdict="ok", why=f"{parallelism} for {slots} slots")
