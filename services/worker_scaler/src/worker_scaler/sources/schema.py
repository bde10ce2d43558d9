"""Which of Airflow's tables and columns are there, and which of them this role may read. Pure.

Looked up instead of derived from a version: a role may see less than the version has, and during an upgrade
the database is between two versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

REQUIRED = ("state", "queue", "executor", "hostname", "queued_dttm")
"""Of ``task_instance``, in Airflow 2.10 to 3.3. Without one of them nothing can be decided."""

WANTED: Mapping[str, tuple[str, ...]] = {
    "task_instance": (
        *REQUIRED,
        *("dag_id", "task_id", "run_id", "start_date", "duration", "pool", "pool_slots"),
        *("scheduled_dttm", "last_heartbeat_at"),
    ),
    "slot_pool": ("pool", "slots", "include_deferred"),
    "job": ("job_type", "state", "latest_heartbeat"),
    "callback": ("type", "state", "created_at"),
    "connection_test_request": ("state", "executor", "queue", "created_at"),
    "dag": ("dag_id", "is_paused", "is_stale", "is_active", "next_dagrun_create_after"),
    "dag_run": ("dag_id", "run_id", "run_type", "state", "start_date"),
}
"""What the scaler reads where it exists: the tick's statement, and the history."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {"callback": ("data",)}
"""What is read when it is granted, and not asked for: DAG authors write into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What was found.

    Attributes:
        present: table to its columns.
        readable: table to those of its columns that this role may read.
    """

    present: Mapping[str, frozenset[str]]
    readable: Mapping[str, frozenset[str]]

    def can_read(self, table: str, columns: Iterable[str]) -> bool:
        """Whether all these columns exist and may be read."""
        return self.readable.get(table, frozenset()).issuperset(columns)

    def lacks(self, table: str, columns: Iterable[str]) -> tuple[str, ...]:
        """Return those of these columns that exist, and may not be read."""
        hidden = self.present.get(table, frozenset()) - self.readable.get(table, frozenset())
        return tuple(column for column in columns if column in hidden)

    def has(self, table: str) -> bool:
        """Whether the table exists."""
        return table in self.present


def grants(schema: Schema) -> dict[str, tuple[str, ...]]:
    """Return what a role needs on this schema: table to columns, none that is not there."""
    return {
        table: found
        for table, columns in WANTED.items()
        if (found := tuple(column for column in columns if column in schema.present.get(table, ())))
    }


def blind_spots(schema: Schema) -> tuple[str, ...]:
    """Return what is there and cannot be counted because a right is missing, in words for people."""
    spots = (
        ("callback", "callbacks are not counted: a fleet at zero never runs them"),
        ("connection_test_request", "connection tests are not counted: a fleet at zero never runs them"),
        ("slot_pool", "no pool can be named as the limit that binds"),
        ("job", "schedulers are not counted: parallelism cannot be named as the limit that binds"),
    )
    found = [
        f"SELECT ({', '.join(missing)}) ON {table} is not granted: {consequence}"
        for table, consequence in spots
        if (missing := schema.lacks(table, WANTED[table]))
    ]
    optional = schema.lacks("task_instance", WANTED["task_instance"])
    if optional:
        found.append(
            f"SELECT ({', '.join(optional)}) ON task_instance is not granted: what is told and predicted of "
            "tasks and pools is less"
        )
    return tuple(found)
