"""``grant-sql`` and ``trace export`` as a user runs them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from sidecar.testing.plugin import Finished
from worker_scaler.trace import read_trace

from .airflow_tables import Airflow, airflow, role

pytestmark = pytest.mark.integration
__all__ = ["airflow", "role"]  # fixtures

Run = Callable[..., Finished]


def settings(url: str) -> dict[str, str]:
    fleet = {"name": "f", "cluster": "c", "service": "s", "queues": ["heavy"], "max_workers": 1}
    return {"WORKER_SCALER_DATABASE_URL": url, "WORKER_SCALER_FLEETS": json.dumps([fleet])}


def test_grant_sql_prints_what_makes_a_role_without_rights_able_to_read(
    airflow: Airflow, role: tuple[str, str], run_sidecar: Run
) -> None:
    name, url = role

    done = run_sidecar("worker_scaler", "grant-sql", "--role", name, settings=settings(url))

    assert done.code == 0, done.err
    airflow.run(done.out)
    with psycopg.connect(url) as connection:
        connection.execute("SELECT state, queue, hostname, pool_slots FROM task_instance")
        connection.execute("SELECT type, state FROM callback")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT try_number FROM task_instance")


def test_a_role_with_any_name_is_quoted(airflow: Airflow, run_sidecar: Run) -> None:
    name = f'odd "name"; {uuid.uuid4().hex[:8]}'
    airflow.run('CREATE ROLE "{}"'.format(name.replace('"', '""')))

    done = run_sidecar("worker_scaler", "grant-sql", "--role", name, settings=settings(airflow.url))

    airflow.run(done.out)
    airflow.drop_role('"{}"'.format(name.replace('"', '""')))


def test_grant_sql_says_when_there_is_no_airflow(database: str, run_sidecar: Run) -> None:
    done = run_sidecar("worker_scaler", "grant-sql", settings=settings(database))

    assert done.code == 2
    assert "no table task_instance" in done.err
    assert "Traceback" not in done.err


def test_a_trace_is_exported_into_a_file(airflow: Airflow, run_sidecar: Run, tmp_path: Path) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the machine's own, as the database's is
    airflow.insert("dag_run", dag_id="d", run_id="r", start_date=now, run_type="manual")
    airflow.task("success", dag_id="d", run_id="r", duration=5.0, scheduled_dttm=now)
    file = tmp_path / "trace.jsonl"

    done = run_sidecar(
        "worker_scaler",
        "trace",
        "export",
        "--days",
        "1",
        "--output",
        str(file),
        settings=settings(airflow.url),
    )

    assert done.code == 0, done.err
    assert [task.runs_seconds for task in read_trace(file.read_text().splitlines()).tasks] == [5.0]
