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

_DB_MANAGERS = re.compile(r"[\"']db-managers[\"']\s*:\s*\[([^\]]*)\]")
_VERSION_TABLE = re.compile(r"^\s+version_table_name\s*(?::[^=\n]*)?=\s*[\"'](\w+)[\"']", re.MULTILINE)
_LEVELS_UP = 4
_ASSIGNMENT = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+)$", re.MULTILINE)


def probe(search_path: list[str], more_managers: list[str]) -> dict[str, object]:
    """Return ``version``, ``core`` (each revision and those below it) and ``managers``.

    Args:
        search_path: where Airflow's Python finds modules.
        more_managers: dotted names of database managers that the configuration adds to those of providers.
    """
    found: dict[str, object] = {"version": None, "core": None, "managers": []}
    try:
        found["version"] = importlib.metadata.version("apache-airflow-core")
    except importlib.metadata.PackageNotFoundError:
        return found
    entries = [Path(entry) for entry in search_path]
    for entry in entries:
        versions = entry / "airflow/migrations/versions"
        if found["core"] is None and versions.is_dir():
            found["core"] = _chain(versions)
    names = dict.fromkeys([*_managers_of_providers(entries), *more_managers])
    found["managers"] = [_manager(name, entries) for name in names]
    return found


def _managers_of_providers(entries: list[Path]) -> list[str]:
    """Dotted names, as providers declare them in their metadata."""
    names: list[str] = []
    for entry in entries:
        for depth in ("*", "*/*", "*/*/*"):
            for file in sorted(entry.glob(f"airflow/providers/{depth}/get_provider_info.py")):
                for declared in _DB_MANAGERS.findall(file.read_text(encoding="utf-8")):
                    names += re.findall(r"[\"']([\w.]+)[\"']", declared)
    return names


def _manager(name: str, entries: list[Path]) -> dict[str, object]:
    """Find a manager's version table and revisions by reading its module; both None when that fails."""
    module = Path(*name.split(".")[:-1]).with_suffix(".py")
    for entry in entries:
        file = entry / module
        if not file.is_file():
            continue
        table = _VERSION_TABLE.search(file.read_text(encoding="utf-8"))
        for above in list(file.parents)[:_LEVELS_UP]:
            versions = above / "migrations" / "versions"
            if table and versions.is_dir():
                return {"name": name, "version_table": table[1], "chain": _chain(versions)}
    return {"name": name, "version_table": None, "chain": None}


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
    json.dump(probe(sys.path, sys.argv[1:]), sys.stdout)
