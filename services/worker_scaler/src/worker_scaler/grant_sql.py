"""``worker-scaler grant-sql``: the least that its database role needs, for the schema that is there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from worker_scaler.sources.schema import OPTIONAL, Schema, grants


def grant_sql(schema: Schema, *, role: str) -> Iterator[str]:
    """Yield the statements, one a line; to be run by the owner of the tables.

    Columns, not tables: no connection, variable, XCom or rendered field can be read with it. The advisory
    lock of the scaler needs no right.
    """
    yield "-- For Airflow's tables as they are now; print it again after each upgrade of Airflow."
    name = quoted(role)
    for table, columns in grants(schema).items():
        yield f"GRANT SELECT ({', '.join(columns)}) ON {table} TO {name};"
    for table, columns in OPTIONAL.items():
        if schema.has(table):
            yield "-- Only where callbacks run on several executors or queues; it holds what DAGs pass them:"
            yield f"-- GRANT SELECT ({', '.join(columns)}) ON {table} TO {name};"


def quoted(name: str) -> str:
    """Return an identifier as SQL wants it, whatever is in it.

    https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
    """
    return '"' + name.replace('"', '""') + '"'
