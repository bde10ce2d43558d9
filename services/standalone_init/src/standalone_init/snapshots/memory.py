"""Which snapshot was asked for, in the database: written before it is. Under the lock only."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from standalone_init.snapshots.model import Remembered, Upgrade

_CREATE: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS airflow_ecs;
    CREATE TABLE IF NOT EXISTS airflow_ecs.init_snapshot (
        id bigint GENERATED ALWAYS AS IDENTITY,
        name text PRIMARY KEY,
        source text NOT NULL,
        resource_id text NOT NULL,
        from_revision text NOT NULL,
        to_revision text NOT NULL,
        airflow_version text NOT NULL,
        requested timestamptz NOT NULL,
        had_stopped boolean NOT NULL,
        restore jsonb NOT NULL,
        closed timestamptz,
        why_closed text
    );
"""
_EXISTS: LiteralString = "SELECT to_regclass('airflow_ecs.init_snapshot') IS NOT NULL"
_REMEMBER: LiteralString = """
    INSERT INTO airflow_ecs.init_snapshot
        (name, source, resource_id, from_revision, to_revision, airflow_version, requested, had_stopped,
        restore)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_RECALL: LiteralString = """
    SELECT name, source, resource_id, from_revision, to_revision, airflow_version, requested, had_stopped,
        restore, closed IS NOT NULL
    FROM airflow_ecs.init_snapshot ORDER BY id DESC
"""
_CLOSE: LiteralString = """
    UPDATE airflow_ecs.init_snapshot SET closed = now(), why_closed = %s WHERE closed IS NULL
"""


def remember(connection: psycopg.Connection[Any], snapshot: Remembered) -> None:
    """Write it down; its name must be new."""
    connection.execute(_CREATE)
    connection.execute(
        _REMEMBER,
        [
            snapshot.name,
            snapshot.source,
            snapshot.resource_id,
            _text(snapshot.upgrade.from_revisions),
            _text(snapshot.upgrade.to_revisions),
            snapshot.airflow_version,
            snapshot.requested,
            snapshot.had_stopped,
            Jsonb(dict(snapshot.restore)),
        ],
    )


def recall(connection: psycopg.Connection[Any]) -> tuple[Remembered, ...]:
    """Return all that were ever asked for, the newest first."""
    if not _exists(connection):
        return ()
    return tuple(
        Remembered(
            name=name,
            source=source,
            resource_id=resource_id,
            upgrade=Upgrade(from_revisions=_revisions(begin), to_revisions=_revisions(end)),
            airflow_version=version,
            requested=requested,
            had_stopped=had_stopped,
            restore=restore,
            is_closed=is_closed,
        )
        for name, source, resource_id, begin, end, version, requested, had_stopped, restore, is_closed in (
            connection.execute(_RECALL)
        )
    )


def close(connection: psycopg.Connection[Any], *, why: str) -> None:
    """Note that no later try may take the snapshots so far for its own. Idempotent."""
    if _exists(connection):
        connection.execute(_CLOSE, [why])


def _exists(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(_EXISTS).fetchone()
    return row is not None and row[0] is True


def _text(revisions: frozenset[str]) -> str:
    return ",".join(sorted(revisions))


def _revisions(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) - {""}
