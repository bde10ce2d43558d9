"""Who is connected to the database: the programs that a list of services does not know of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from standalone_init.database import APPLICATION

# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
_SESSIONS: LiteralString = """
    SELECT coalesce(host(client_addr), 'local'), coalesce(application_name, ''), count(*)
    FROM pg_catalog.pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND backend_type = 'client backend' AND starts_with(application_name, %s) IS NOT TRUE
    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Connections of one program from one address, by which its ECS task can be found."""

    address: str
    application: str
    count: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.count} x {self.application or 'unknown application'} from {self.address}"


def sessions(connection: psycopg.Connection[Any]) -> Sequence[Session]:
    """Return all but our own."""
    return tuple(
        Session(address=address, application=application, count=count)
        for address, application, count in connection.execute(_SESSIONS, [f"{APPLICATION}@"])
    )
