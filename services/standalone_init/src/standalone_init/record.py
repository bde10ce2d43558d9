"""Our own memory in the database: which run did what, from where to where. Written under the lock only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from sidecar.secrets import mask
from standalone_init.rollback import Run

_CREATE: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS airflow_ecs;
    CREATE TABLE IF NOT EXISTS airflow_ecs.init_run (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        started timestamptz NOT NULL DEFAULT now(),
        finished timestamptz,
        phase text NOT NULL,
        state_before text NOT NULL,
        from_revision text NOT NULL,
        to_revision text NOT NULL,
        airflow_version text NOT NULL,
        host text NOT NULL,
        outcome text
    );
    ALTER TABLE airflow_ecs.init_run ADD COLUMN IF NOT EXISTS report jsonb;
"""
_BEGIN: LiteralString = """
    INSERT INTO airflow_ecs.init_run (phase, state_before, from_revision, to_revision, airflow_version, host)
    VALUES ('begin', %s, %s, %s, %s, %s) RETURNING id
"""
_PHASE: LiteralString = "UPDATE airflow_ecs.init_run SET phase = %s, report = %s WHERE id = %s"
_FINISH: LiteralString = (
    "UPDATE airflow_ecs.init_run SET finished = now(), outcome = %s, report = %s WHERE id = %s"
)
# We hold the lock: whoever never finished is dead.
_CLOSE_DEAD: LiteralString = (
    "UPDATE airflow_ecs.init_run SET finished = now(), outcome = 'interrupted' WHERE outcome IS NULL"
)
# Rows of a version that had no reports are read without them.
_LATEST: LiteralString = """
    SELECT id, started, finished, phase, state_before, from_revision, to_revision, airflow_version, host,
        outcome, to_jsonb(r) -> 'report'
    FROM airflow_ecs.init_run r ORDER BY id DESC LIMIT %s
"""
_NAMES = (
    *("id", "started", "finished", "phase", "state_before", "from_revision", "to_revision"),
    *("airflow_version", "host", "outcome", "report"),
)
_RUNS_SEARCHED = 1000
_EXISTS: LiteralString = "SELECT to_regclass('airflow_ecs.init_run') IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What is known when a run begins."""

    state_before: str
    from_revisions: frozenset[str]
    to_revisions: frozenset[str]
    airflow_version: str
    host: str


class Record:
    """One run's row.

    Args:
        connection: the one that holds the lock, so that a run that lost it cannot write here either.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._id = 0

    def begin(self, beginning: Beginning) -> None:
        """Write the row of a run that begins; runs that died before are marked as interrupted."""
        self._connection.execute(_CREATE)
        self._connection.execute(_CLOSE_DEAD)
        row = self._connection.execute(
            _BEGIN,
            [
                beginning.state_before,
                ",".join(sorted(beginning.from_revisions)),
                ",".join(sorted(beginning.to_revisions)),
                beginning.airflow_version,
                beginning.host,
            ],
        ).fetchone()
        self._id = int(row[0]) if row else 0

    def phase(self, name: str, report: Mapping[str, Any]) -> None:
        """Note the step that begins, and what was done until here: a kill leaves that behind."""
        self._connection.execute(_PHASE, [name, Jsonb(report), self._id])

    def done(self, report: Mapping[str, Any]) -> None:
        """Note that the goal was reached and verified."""
        self._connection.execute(_FINISH, ["done", Jsonb(report), self._id])

    def failed(self, error: BaseException, report: Mapping[str, Any]) -> None:
        """Note why it ended; does nothing when the connection is gone (the next run marks the row)."""
        if not self._connection.broken:
            self._connection.execute(_FINISH, [mask(f"failed: {error}"), Jsonb(report), self._id])


def upgrades(connection: psycopg.Connection[Any]) -> Sequence[Run]:
    """Return the upgrades that reached their goal, newest first; none without a record.

    One that was interrupted and continued is one upgrade, from where its first run began.
    """
    runs = latest(connection, _RUNS_SEARCHED)
    found: list[Run] = []
    for at, run in enumerate(runs):
        if run["outcome"] != "done":
            continue
        first = run
        for earlier in runs[at + 1 :]:
            if earlier["outcome"] == "done" or earlier["to_revision"] != run["to_revision"]:
                break
            first = earlier
        if first["from_revision"] != run["to_revision"]:
            found.append(
                Run(
                    airflow_version=run["airflow_version"],
                    started=first["started"],
                    from_revision=first["from_revision"],
                    to_revision=run["to_revision"],
                    position_before=(first["report"] or {}).get("position_before", ""),
                )
            )
    return found


def latest(connection: psycopg.Connection[Any], count: int) -> Sequence[dict[str, Any]]:
    """Return the last runs, newest first; none when there never was one."""
    exists = connection.execute(_EXISTS).fetchone()
    if exists is None or not exists[0]:
        return []
    return [dict(zip(_NAMES, row, strict=True)) for row in connection.execute(_LATEST, [count])]
