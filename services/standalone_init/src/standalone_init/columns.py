"""What a database lacks of its model: revision numbers can lie, columns cannot. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is missing in the database, and what it has beyond the model, as ``table`` or ``table.column``."""

    missing: tuple[str, ...]
    surplus: tuple[str, ...]


def difference(model: Mapping[str, frozenset[str]], found: Mapping[str, frozenset[str]]) -> Difference:
    """Compare the columns of each table of the model with those in the database.

    Tables that are not in the model are nobody's business here: archives, Celery's, other managers'.
    """
    missing: list[str] = []
    surplus: list[str] = []
    for table, columns in sorted(model.items()):
        if table not in found:
            missing.append(table)
            continue
        missing += [f"{table}.{column}" for column in sorted(columns - found[table])]
        surplus += [f"{table}.{column}" for column in sorted(found[table] - columns)]
    return Difference(missing=tuple(missing), surplus=tuple(surplus))
