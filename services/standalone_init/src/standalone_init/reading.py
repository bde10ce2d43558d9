"""Reads a database as it is: tables, heads, the default pool, our own notes. Writes nothing."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from standalone_init.forecast import TableSize
from standalone_init.state import ANCHOR_TABLES, DatabaseReading

# Tables of the schema that unqualified names mean, without those an extension brought (deptype 'e').
# https://www.postgresql.org/docs/current/catalog-pg-depend.html
_TABLES: LiteralString = """
    SELECT c.relname FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
      AND c.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
_DEFAULT_POOL: LiteralString = "SELECT EXISTS (SELECT 1 FROM slot_pool WHERE pool = 'default_pool')"
_HISTORY: LiteralString = "SELECT EXISTS (SELECT 1 FROM dag) OR EXISTS (SELECT 1 FROM dag_run)"
_RECORD_EXISTS: LiteralString = "SELECT to_regclass('airflow_ecs.init_run') IS NOT NULL"
# A run that began on EMPTY and after which none reached its goal.
_BEGUN_FROM_EMPTY: LiteralString = """
    SELECT to_revision FROM airflow_ecs.init_run
    WHERE state_before = 'EMPTY'
      AND id > coalesce((SELECT max(id) FROM airflow_ecs.init_run WHERE outcome = 'done'), 0)
    ORDER BY id DESC LIMIT 1
"""


_MIGRATED_BY: LiteralString = """
    SELECT airflow_version FROM airflow_ecs.init_run
    WHERE outcome = 'done' AND to_revision = %s ORDER BY id DESC LIMIT 1
"""
_COLUMNS: LiteralString = """
    SELECT c.relname, array_remove(array_agg(a.attname::text), NULL) FROM pg_catalog.pg_class c
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
      AND c.relkind IN ('r', 'p')
    GROUP BY 1
"""
# -1 means that the table was never counted.
# https://www.postgresql.org/docs/current/catalog-pg-class.html
_SIZES: LiteralString = """
    SELECT relname, reltuples::bigint, pg_catalog.pg_total_relation_size(oid) FROM pg_catalog.pg_class
    WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
      AND relkind IN ('r', 'p')
"""


def columns(connection: psycopg.Connection[Any]) -> dict[str, frozenset[str]]:
    """Return the columns of each table."""
    return {table: frozenset(names) for table, names in connection.execute(_COLUMNS)}


def sizes(connection: psycopg.Connection[Any]) -> dict[str, TableSize]:
    """Return how big each table is, with its indexes."""
    return {
        table: TableSize(rows=rows if rows >= 0 else None, bytes=size)
        for table, rows, size in connection.execute(_SIZES)
    }


def read(connection: psycopg.Connection[Any]) -> DatabaseReading:
    """Look once. What is absent is empty, never guessed."""
    tables = frozenset(row[0] for row in connection.execute(_TABLES))
    core_revisions = _revisions(connection, "alembic_version", tables)
    has_record = _is_true(connection, _RECORD_EXISTS)
    return DatabaseReading(
        tables=tables,
        core_revisions=core_revisions,
        manager_revisions={
            table: _revisions(connection, table, tables)
            for table in tables
            if table.startswith("alembic_version_")
        },
        has_default_pool="slot_pool" in tables and _is_true(connection, _DEFAULT_POOL),
        has_history=tables >= ANCHOR_TABLES and _is_true(connection, _HISTORY),
        begun_from_empty_to=_begun_from_empty(connection) if has_record else frozenset(),
        migrated_by=_migrated_by(connection, core_revisions) if has_record else "",
    )


def _revisions(connection: psycopg.Connection[Any], table: str, tables: frozenset[str]) -> frozenset[str]:
    if table not in tables:
        return frozenset()
    statement = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(table))
    return frozenset(row[0] for row in connection.execute(statement))


def _begun_from_empty(connection: psycopg.Connection[Any]) -> frozenset[str]:
    row = connection.execute(_BEGUN_FROM_EMPTY).fetchone()
    return frozenset(row[0].split(",")) if row else frozenset()


def _migrated_by(connection: psycopg.Connection[Any], revisions: frozenset[str]) -> str:
    row = connection.execute(_MIGRATED_BY, [",".join(sorted(revisions))]).fetchone()
    return str(row[0]) if row else ""


def _is_true(connection: psycopg.Connection[Any], statement: LiteralString) -> bool:
    row = connection.execute(statement).fetchone()
    return row is not None and row[0] is True
