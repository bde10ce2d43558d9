"""Real Airflow and what is asked of it and of its database, for the tests that need it."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from local_cloud.postgres import Postgres
from sidecar.testing.plugin import Finished

AIRFLOW = Path(__file__).parents[2] / ".airflow" / "bin" / "airflow"
PATIENCE_SECONDS = 120.0
NEEDS_AIRFLOW = pytest.mark.skipif(
    not AIRFLOW.exists(), reason="no .airflow: run 'make .airflow/.ready' first"
)

Run = Callable[..., Finished]


def settings_for(database: str, home: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "STANDALONE_INIT_AIRFLOW_COMMAND": str(AIRFLOW),
        "STANDALONE_INIT_DATABASE_URL": database,
        "STANDALONE_INIT_LOG_FORMAT": "json",
        "STANDALONE_INIT_REPORT": str(home / "report.json"),
    }


def database_of(release: str, postgres: Postgres, home: Path) -> str:
    """Return the name of a database as this release leaves it: migrated by the real one, then taken back."""
    name = f"old_{uuid.uuid4().hex}"
    postgres.create_database(name)
    environ = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url(name, driver="psycopg2"),
    }
    for arguments in (["migrate"], ["downgrade", "-n", release, "-y"]):
        subprocess.run([AIRFLOW, "db", *arguments], env=environ, check=True, capture_output=True, timeout=120)
    return name


def state(run_sidecar: Run, settings: dict[str, str]) -> tuple[str, int]:
    done = run_sidecar("standalone_init", "inspect", settings=settings)
    assert done.code == 0, done
    found = json.loads(done.out)
    return found["state"], found["pending_revisions"]


def revision(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def advisory_locks(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    return int(row[0]) if row else 0
