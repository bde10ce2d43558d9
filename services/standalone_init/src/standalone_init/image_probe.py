"""Says which Airflow is installed and which revisions it knows, without importing it.

This file is run by Airflow's own Python (3.10 or newer, standard library only) and prints one JSON object.
Importing Airflow takes two to ten seconds and reads its whole configuration; the migrations are files with
two plain assignments each, and reading those takes milliseconds.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import sys
from pathlib import Path

_ASSIGNMENT = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+)$", re.MULTILINE)


def probe(search_path: list[str]) -> dict[str, object]:
    """Return ``version``, ``core`` and ``fab``; the latter two map each revision to those below it."""
    found: dict[str, object] = {"version": None, "core": None, "fab": None}
    try:
        found["version"] = importlib.metadata.version("apache-airflow-core")
    except importlib.metadata.PackageNotFoundError:
        return found
    for entry in map(Path, search_path):
        for name, place in (("core", "airflow/migrations"), ("fab", "airflow/providers/fab/migrations")):
            versions = entry / place / "versions"
            if found[name] is None and versions.is_dir():
                found[name] = _chain(versions)
    return found


def _chain(versions: Path) -> dict[str, list[str]]:
    chain: dict[str, list[str]] = {}
    for file in sorted(versions.glob("*.py")):
        assigned = dict(_ASSIGNMENT.findall(file.read_text(encoding="utf-8")))
        if "revision" in assigned:
            below = ast.literal_eval(assigned["down_revision"])
            parents = [below] if isinstance(below, str) else list(below or ())
            chain[ast.literal_eval(assigned["revision"])] = parents
    return chain


if __name__ == "__main__":
    # The first entry is this file's own directory, whose modules must not stand in for anybody else's.
    del sys.path[0]
    json.dump(probe(sys.path), sys.stdout)
