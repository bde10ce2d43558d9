"""What ``plan`` tells of a migration before it runs: revisions, what they destroy and lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from standalone_init import reading
from standalone_init.airflow_cli import AirflowCli
from standalone_init.database import AirflowDatabase
from standalone_init.forecast import Forecast, forecast
from standalone_init.migration_sql import Statement, statements
from standalone_init.state import DatabaseState, Image, StateClass

# The one manager whose SQL Airflow's command line can print.
_FAB_VERSION_TABLE = "alembic_version_fab"
_TABLES_SHOWN = 10
_TEXT_SHOWN = 120


def preview(
    state: DatabaseState, image: Image, *, airflow: AirflowCli, database: AirflowDatabase
) -> Forecast | None:
    """Return what the pending revisions will do; None when nothing that exists is going to be changed.

    Takes Airflow some seconds; changes nothing.

    Raises:
        ConfigError: this Airflow cannot print its SQL.
    """
    if state.name is not StateClass.BEHIND:
        return None
    with database.reader() as connection:
        sizes = reading.sizes(connection)
        stamped = reading.read(connection).manager_revisions
    url = database.url()
    found: list[Statement] = []
    if image.core.pending(state.revisions):
        # More than one stamped revision is a branch; Airflow's own chain has none.
        sql = airflow.migration_sql(database_url=url, from_revision=min(state.revisions))
        found += statements(sql)
    for manager in image.managers:
        at = stamped.get(manager.version_table) or frozenset()
        if manager.version_table == _FAB_VERSION_TABLE and at and manager.chain.pending(at):
            sql = airflow.migration_sql(database_url=url, from_revision=min(at), manager="fab")
            found += statements(sql)
    return forecast(found, sizes)


def lines(ahead: Forecast) -> Iterator[str]:
    """Yield it for people."""
    yield f"{len(ahead.revisions)} revisions, about {ahead.seconds:.0f} s under locks (Airflow's start aside)"
    for statement in ahead.destructive:
        yield f"destroys, only a snapshot leads back: {_short(statement)}"
    for statement in ahead.unknown:
        yield f"not to be judged from its SQL, read it: {_short(statement)}"
    for table in ahead.tables[:_TABLES_SHOWN]:
        yield f"locks {table}"
    if len(ahead.tables) > _TABLES_SHOWN:
        yield f"locks {len(ahead.tables) - _TABLES_SHOWN} smaller tables, too"


def document(ahead: Forecast) -> dict[str, Any]:
    """Return it for programs; the keys are a contract."""
    return {
        "revisions": list(ahead.revisions),
        "seconds_under_locks": round(ahead.seconds, 1),
        "destructive": [_entry(statement) for statement in ahead.destructive],
        "not_judged": [_entry(statement) for statement in ahead.unknown],
        "tables": [
            {
                "table": table.table,
                "lock": str(table.lock),
                "rows": table.rows,
                "bytes": table.bytes,
                "statements": table.statements,
                "seconds": round(table.seconds, 2),
            }
            for table in ahead.tables
        ],
    }


def _entry(statement: Statement) -> dict[str, str]:
    return {"revision": statement.revision, "sql": statement.text}


def _short(statement: Statement) -> str:
    text = statement.text
    return f"{text[:_TEXT_SHOWN]}{'…' if len(text) > _TEXT_SHOWN else ''} ({statement.revision})"
