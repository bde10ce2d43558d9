"""One kept connection to Airflow's database, and what this role can read over it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, LiteralString

import psycopg

from sidecar.errors import ConfigError, Transient
from sidecar.postgres import Database
from worker_scaler.sources.schema import REQUIRED, WANTED, Schema, grants
from worker_scaler.sources.statement import statement

_LOOK: LiteralString = """
SELECT c.relname, a.attname, pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'v') AND pg_catalog.pg_table_is_visible(c.oid)
  AND a.attnum > 0 AND NOT a.attisdropped
"""


class Session:
    """A connection and what was found over it.

    Raises:
        ConfigError: login refused, or what a reading needs cannot be read.
        Transient: the server does not answer.
        psycopg.Error: it stopped answering.
    """

    def __init__(self, database: Database, *, options: str, now_seconds: float) -> None:
        self._stack = ExitStack()
        try:
            self.connection: psycopg.Connection[Any] = self._stack.enter_context(
                database.connect(options=options)
            )
            self.connection.prepare_threshold = None  # a pooling proxy would prepare it in another session
            self.was_replica: bool | None = None
            self.look(now_seconds=now_seconds)
        except BaseException:
            self._stack.close()
            raise

    def look(self, *, now_seconds: float) -> None:
        """See what can be read now, and make the statement for it."""
        self.schema = detect(self.connection)
        refuse_unless_readable(self.schema)
        self.statement = statement(self.schema)
        self.looked_at_seconds = now_seconds

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._stack.close()


def schema_of(database: Database) -> Schema:
    """Return what is there and what can be read, also when that is too little for a reading.

    Raises:
        ConfigError: login refused.
        Transient: the server does not answer; a retry may help.
    """
    with database.connect() as connection:
        try:
            return detect(connection)
        except psycopg.Error as err:
            why = str(err).strip().partition("\n")[0]
            raise Transient("The tables of the database could not be looked at", why=why) from err


def refuse_unless_readable(schema: Schema) -> None:
    """Raise ConfigError unless the columns are there and readable without which nothing can be decided."""
    if not schema.has("task_instance"):
        raise unreadable("there is no table task_instance in its search path")
    missing = [column for column in REQUIRED if column not in schema.present["task_instance"]]
    if missing:
        raise ConfigError(
            "The queues cannot be read from the database",
            why=f"task_instance has no column {', '.join(missing)}: Airflow is older than 2.10",
            remedy="Migrate it to Airflow 2.10 or later",
        )
    if hidden := schema.lacks("task_instance", REQUIRED):
        columns = ", ".join(grants(schema)["task_instance"])
        raise ConfigError(
            "The queues cannot be read from the database",
            why=f"its user may not read {', '.join(hidden)} of task_instance",
            remedy=f"As the tables' owner, grant its user SELECT ({columns}) ON task_instance; all that it "
            "needs is printed by 'worker-scaler grant-sql'",
        )


def unreadable(why: str) -> ConfigError:
    """Return the error of a database that can never be read this way."""
    return ConfigError(
        "The queues cannot be read from the database",
        why=why,
        remedy="Point it at Airflow's database, migrated, and grant its user what 'worker-scaler grant-sql' "
        "prints",
    )


def detect(connection: psycopg.Connection[Any]) -> Schema:
    """Look into the system catalog; milliseconds, and allowed to every role.

    Raises:
        psycopg.Error: the server did not answer.
    """
    present: dict[str, set[str]] = {}
    readable: dict[str, set[str]] = {}
    for table, column, may_read in connection.execute(_LOOK, (list(WANTED),)).fetchall():
        present.setdefault(table, set()).add(column)
        if may_read:
            readable.setdefault(table, set()).add(column)
    return Schema(
        present={table: frozenset(columns) for table, columns in present.items()},
        readable={table: frozenset(columns) for table, columns in readable.items()},
    )
