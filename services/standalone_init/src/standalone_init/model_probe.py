"""Says which tables and columns this Airflow's own models have.

This file is run by Airflow's own Python and imports Airflow (two to five seconds): only after a migration and
for ``verify``, never for ``gate``. Its arguments are the dotted names of the database managers that count.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

MARK = "standalone-init-model:"
"""What the line with the answer begins with; Airflow and its plugins may print anything else before it."""


def model(managers: list[str]) -> dict[str, list[str]]:
    """Return the columns of each table, by the table's name."""
    models = importlib.import_module("airflow.models")
    models.import_all_models()
    base: Any = importlib.import_module("airflow.models.base").Base
    found = _columns(base.metadata)
    for name in managers:
        module, _, attribute = name.rpartition(".")
        found.update(_columns(getattr(importlib.import_module(module), attribute).metadata))
    return found


def _columns(metadata: Any) -> dict[str, list[str]]:
    return {table.name: [column.name for column in table.columns] for table in metadata.tables.values()}


if __name__ == "__main__":
    # The first entry is this file's own directory, whose modules must not stand in for anybody else's.
    del sys.path[0]
    sys.stdout.write(f"\n{MARK}{json.dumps(model(sys.argv[1:]))}\n")
