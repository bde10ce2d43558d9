"""What a database holds encrypted: a few tokens to judge a key by, or all of them after a rotation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
from psycopg import sql

_CREATE: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS airflow_ecs;
    CREATE TABLE IF NOT EXISTS airflow_ecs.init_canary (
        name text PRIMARY KEY,
        token text NOT NULL,
        written timestamptz NOT NULL DEFAULT now()
    );
"""
_CANARY_EXISTS: LiteralString = "SELECT to_regclass('airflow_ecs.init_canary') IS NOT NULL"
_CANARY: LiteralString = "SELECT token FROM airflow_ecs.init_canary WHERE name = 'fernet'"
_WRITE_CANARY: LiteralString = """
    INSERT INTO airflow_ecs.init_canary (name, token) VALUES ('fernet', %s)
    ON CONFLICT (name) DO UPDATE SET token = excluded.token, written = now()
"""
_SAMPLE = 1
# Table, column, and the column that says whether it is encrypted; "" when it always is.
_ENCRYPTED: tuple[tuple[str, str, str], ...] = (
    ("variable", "val", "is_encrypted"),
    ("connection", "password", "is_encrypted"),
    ("connection", "extra", "is_extra_encrypted"),
    ("connection_test_request", "password", "is_encrypted"),
    ("connection_test_request", "extra", "is_extra_encrypted"),
    ("trigger", "kwargs", ""),
)


def canary(connection: psycopg.Connection[Any]) -> str | None:
    """Return the canary's token; None when none was written yet."""
    exists = connection.execute(_CANARY_EXISTS).fetchone()
    if exists is None or not exists[0]:
        return None
    row = connection.execute(_CANARY).fetchone()
    return str(row[0]) if row else None


def write_canary(connection: psycopg.Connection[Any], token: str) -> None:
    """Keep it. Idempotent."""
    connection.execute(_CREATE)
    connection.execute(_WRITE_CANARY, [token])


def sample(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield a token of each place that holds one: enough to tell a wrong key."""
    for _, token in _tokens(connection, limit=_SAMPLE):
        yield token


def every(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str]]:
    """Yield every token and the place where it is, as ``table.column``."""
    yield from _tokens(connection, limit=None)


def _tokens(connection: psycopg.Connection[Any], *, limit: int | None) -> Iterator[tuple[str, str]]:
    for table, column, flag in _ENCRYPTED:
        if not _has(connection, table, column):
            continue
        where = sql.SQL("{} IS NOT NULL AND {} <> ''").format(sql.Identifier(column), sql.Identifier(column))
        if flag:
            where = sql.SQL("{} AND {}").format(sql.Identifier(flag), where)
        statement = sql.SQL("SELECT {} FROM {} WHERE {} LIMIT %s").format(
            sql.Identifier(column), sql.Identifier(table), where
        )
        for (token,) in connection.execute(statement, [limit]):
            yield f"{table}.{column}", str(token)


def _has(connection: psycopg.Connection[Any], table: str, column: str) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s",
        [table, column],
    ).fetchone()
    return row is not None and row[0] > 0
