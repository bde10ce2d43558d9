"""Airflow's tables, as far as the scaler reads them, and a way to put rows into any version of them.

``TABLES_3_3`` holds columns that Airflow 3.3.2's own migrations create on PostgreSQL, without the keys to
other tables; ``test_real_schemas`` compares it with the real ones.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

TABLES_3_3: LiteralString = """
CREATE TABLE task_instance (
  id uuid PRIMARY KEY, task_id varchar(250) NOT NULL, dag_id varchar(250) NOT NULL,
  run_id varchar(250) NOT NULL, map_index integer NOT NULL DEFAULT -1,
  pool varchar(256) NOT NULL, pool_slots integer NOT NULL,
  start_date timestamptz, end_date timestamptz, duration double precision, state varchar(20),
  try_number integer NOT NULL, hostname varchar(1000), queue varchar(256), priority_weight integer,
  queued_dttm timestamptz, scheduled_dttm timestamptz, last_heartbeat_at timestamptz, executor varchar(1000)
);
CREATE INDEX ti_state ON task_instance (state);
CREATE INDEX ti_dag_run ON task_instance (dag_id, run_id);
CREATE INDEX ti_pool ON task_instance (pool, state, priority_weight);
CREATE TABLE slot_pool (
  id serial PRIMARY KEY, pool varchar(256), slots integer NOT NULL, include_deferred boolean NOT NULL
);
CREATE TABLE job (
  id serial PRIMARY KEY, state varchar(20), job_type varchar(30), latest_heartbeat timestamptz
);
CREATE TABLE callback (
  id uuid PRIMARY KEY, created_at timestamptz NOT NULL, priority_weight integer NOT NULL,
  type varchar(20) NOT NULL, fetch_method varchar(20) NOT NULL, data jsonb NOT NULL, state varchar(10)
);
CREATE TABLE connection_test_request (
  id uuid PRIMARY KEY, token varchar(64) NOT NULL, connection_id varchar(250) NOT NULL,
  state varchar(20) NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
  executor varchar(256), queue varchar(256),
  conn_type varchar(500) NOT NULL
);
CREATE TABLE dag (
  dag_id varchar(250) PRIMARY KEY, is_paused boolean NOT NULL, is_stale boolean NOT NULL,
  next_dagrun_create_after timestamptz
);
CREATE TABLE dag_run (
  id serial PRIMARY KEY, dag_id varchar(250) NOT NULL, run_id varchar(250) NOT NULL,
  run_type varchar(50) NOT NULL, start_date timestamptz, state varchar(50)
);
"""

_REQUIRED_COLUMNS: LiteralString = """
SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef
"""

_ANYTHING: dict[str, Any] = {
    "integer": 1,
    "boolean": False,
    "jsonb": "{}",
    "json": "{}",
    "double precision": 1.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Airflow:
    """A database with Airflow's tables of some version."""

    url: str

    def insert(self, table: str, **values: Any) -> None:
        """Insert one row; what may not be empty and is not given becomes anything. Keys are not enforced."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            for column, kind in connection.execute(_REQUIRED_COLUMNS, (table,)).fetchall():
                values.setdefault(column, _ANYTHING.get(kind, _unique(kind)))
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            )
            connection.execute(statement, list(values.values()))

    def task(self, state: str | None, **values: Any) -> None:
        """Insert one task instance."""
        given = {"queue": "heavy", "hostname": "", "pool": "default_pool", "pool_slots": 1}
        self.insert("task_instance", state=state, **{**given, **values})

    def callback(self, state: str, **data: Any) -> None:
        """Insert one callback for an executor, as Airflow serialises it."""
        serialised = json.dumps({"__type": "dict", "__var": data})
        self.insert("callback", type="executor", state=state, data=serialised)

    def run(self, statement: str) -> None:
        """Execute as superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def as_role(self, name: str) -> str:
        """Make a role that may log in and nothing else; return the URL with it."""
        password = uuid.uuid4().hex
        self.run(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}"))

    def drop_role(self, name: str) -> None:
        """Remove a role and its rights."""
        self.run(f"DROP OWNED BY {name}")
        self.run(f"DROP ROLE {name}")


def _unique(kind: str) -> Any:
    if kind.startswith("timestamp"):
        return datetime.now(UTC)  # noqa: TID251 - the machine's own, as the database's is
    return uuid.uuid4() if kind == "uuid" else uuid.uuid4().hex[:10]


@pytest.fixture
def airflow(database: str) -> Airflow:
    """A database with the tables of Airflow 3.3."""
    made = Airflow(url=database)
    made.run(TABLES_3_3)
    return made


@pytest.fixture
def role(airflow: Airflow) -> Iterator[tuple[str, str]]:
    """A fresh role's name and the URL with it."""
    name = f"scaler_{uuid.uuid4().hex[:12]}"
    yield name, airflow.as_role(name)
    airflow.drop_role(name)
