"""Which objects a file of ours declared: only these may ever be removed by one that does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, LiteralString

import psycopg

_CREATE: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS airflow_ecs;
    CREATE TABLE IF NOT EXISTS airflow_ecs.init_object (
        kind text NOT NULL,
        key text NOT NULL,
        declared timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (kind, key)
    );
"""
_EXISTS: LiteralString = "SELECT to_regclass('airflow_ecs.init_object') IS NOT NULL"
_ALL: LiteralString = "SELECT kind, key FROM airflow_ecs.init_object"
_OWN: LiteralString = "INSERT INTO airflow_ecs.init_object (kind, key) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_DISOWN: LiteralString = "DELETE FROM airflow_ecs.init_object WHERE kind = %s AND key = %s"


def owned(connection: psycopg.Connection[Any]) -> frozenset[tuple[str, str]]:
    """Return kind and key of the objects that were ever declared and not removed since."""
    exists = connection.execute(_EXISTS).fetchone()
    if exists is None or not exists[0]:
        return frozenset()
    return frozenset((kind, key) for kind, key in connection.execute(_ALL))


def own(connection: psycopg.Connection[Any], objects: Iterable[tuple[str, str]]) -> None:
    """Note that these are declared, before they are made: a kill in between forgets none. Idempotent."""
    connection.execute(_CREATE)
    for one in objects:
        connection.execute(_OWN, one)


def disown(connection: psycopg.Connection[Any], objects: Iterable[tuple[str, str]]) -> None:
    """Note that these were removed; afterwards. Idempotent."""
    for one in objects:
        connection.execute(_DISOWN, one)
