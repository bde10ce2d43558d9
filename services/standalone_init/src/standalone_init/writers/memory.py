"""What was stopped, in the database: one row per service. Written under the lock only."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from standalone_init.writers.model import Memory, Service, Suspended

_CREATE: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS airflow_ecs;
    CREATE TABLE IF NOT EXISTS airflow_ecs.init_writer (
        id bigint GENERATED ALWAYS AS IDENTITY,
        cluster text NOT NULL,
        service text NOT NULL,
        desired integer NOT NULL,
        suspended text,
        position text NOT NULL,
        since timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (cluster, service)
    );
"""
_EXISTS: LiteralString = "SELECT to_regclass('airflow_ecs.init_writer') IS NOT NULL"
# An interrupted run has set the count to 0 already: what is remembered is never overwritten.
_REMEMBER: LiteralString = """
    INSERT INTO airflow_ecs.init_writer (cluster, service, desired, suspended, position)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_RECALL: LiteralString = """
    SELECT cluster, service, desired, suspended, position, since FROM airflow_ecs.init_writer ORDER BY id
"""
_FORGET: LiteralString = "DELETE FROM airflow_ecs.init_writer WHERE cluster = %s AND service = %s"


def remember(connection: psycopg.Connection[Any], memory: Memory) -> None:
    """Write it down, unless something is written down for that service already."""
    connection.execute(_CREATE)
    connection.execute(
        _REMEMBER,
        [
            memory.service.cluster,
            memory.service.service,
            memory.desired,
            None if memory.suspended is None else str(memory.suspended),
            memory.position,
        ],
    )


def recall(connection: psycopg.Connection[Any]) -> tuple[Memory, ...]:
    """Return what is written down, in the order in which it was."""
    if not _exists(connection):
        return ()
    return tuple(
        Memory(
            service=Service(cluster=cluster, service=service),
            desired=desired,
            suspended=None if suspended is None else Suspended.of(suspended),
            position=position,
            since=since,
        )
        for cluster, service, desired, suspended, position, since in connection.execute(_RECALL)
    )


def forget(connection: psycopg.Connection[Any], service: Service) -> None:
    """Take the row away. Idempotent."""
    if _exists(connection):
        connection.execute(_FORGET, [service.cluster, service.service])


def _exists(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(_EXISTS).fetchone()
    return row is not None and row[0] is True
