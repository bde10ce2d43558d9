"""What a migration is going to do to whom, before any of it runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from standalone_init.migration_sql import Effect, Lock, Statement

# What a small RDS instance does at least; two local cores do several times as much.
_REWRITTEN_BYTES_PER_SECOND = 20_000_000
_READ_BYTES_PER_SECOND = 80_000_000
_STATEMENT_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """How big a table is; ``rows`` is PostgreSQL's own estimate, None when it never made one."""

    rows: int | None
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableForecast:
    """What one table has before it."""

    table: str
    lock: Lock
    rows: int | None
    bytes: int
    statements: int
    seconds: float

    def __str__(self) -> str:
        """For people."""
        rows = "an unknown number of rows" if self.rows is None else f"{self.rows:,} rows"
        return (
            f"{self.table}: {self.lock}, {self.statements} statements, {rows},"
            f" {self.bytes / 1e6:,.1f} MB, about {self.seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the pending revisions do.

    Attributes:
        revisions: in order.
        destructive: statements after which only a snapshot leads back.
        unknown: statements this program cannot judge: read them.
        tables: that exist now and will be locked, the costliest first.
        seconds: an estimate of the time under locks; the start of Airflow is not in it.
    """

    revisions: tuple[str, ...]
    destructive: tuple[Statement, ...]
    unknown: tuple[Statement, ...]
    tables: tuple[TableForecast, ...]
    seconds: float


def forecast(found: Iterable[Statement], sizes: Mapping[str, TableSize]) -> Forecast:
    """Return what these statements do to the tables of these sizes.

    Args:
        found: of all chains together.
        sizes: of the tables that exist now; what is not in it is made on the way and hurts nobody.
    """
    found = tuple(found)
    touched: dict[str, list[Statement]] = {}
    for statement in found:
        if statement.table in sizes and statement.lock is not Lock.NONE:
            touched.setdefault(statement.table, []).append(statement)
    tables = [_table(table, its, sizes[table]) for table, its in touched.items()]
    return Forecast(
        revisions=tuple(dict.fromkeys(statement.revision for statement in found if statement.revision)),
        destructive=tuple(one for one in found if one.effect is Effect.DESTROYS and one.table in sizes),
        unknown=tuple(one for one in found if one.effect is Effect.UNKNOWN),
        tables=tuple(sorted(tables, key=lambda table: (-table.seconds, table.table))),
        seconds=sum(table.seconds for table in tables),
    )


def _table(table: str, its: Sequence[Statement], size: TableSize) -> TableForecast:
    costs = {
        Effect.REWRITES: size.bytes / _REWRITTEN_BYTES_PER_SECOND,
        Effect.DESTROYS: size.bytes / _REWRITTEN_BYTES_PER_SECOND,
        Effect.READS: size.bytes / _READ_BYTES_PER_SECOND,
    }
    return TableForecast(
        table=table,
        lock=max(statement.lock for statement in its),
        rows=size.rows,
        bytes=size.bytes,
        statements=len(its),
        seconds=sum(_STATEMENT_SECONDS + costs.get(statement.effect, 0.0) for statement in its),
    )
