"""A module that nobody imports, starts or is told to use is dead, however well it is tested."""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    package.name: package
    for source in [*ROOT.glob("services/*/src"), ROOT / "shared/src", ROOT / "local/src"]
    for package in source.iterdir()
    if (package / "__init__.py").exists()
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*sorted(PACKAGES), cache_dir=None)


def is_started(module: str) -> bool:
    """Whether a script, a plugin entry or a ``python -m`` names it, or it is a test's tool by name."""
    if module.endswith("__main__") or ".testing" in module:
        return True
    named = [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    sources = [file for package in PACKAGES.values() for file in package.rglob("*.py")]
    # As text: who is run in a process of its own is named by a string.
    names = (f'"{module}', f'"{module.rpartition(".")[2]}.py"')
    return any(name in file.read_text() for file in [*named, *sources] for name in names)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_module_is_imported_or_started_by_somebody(package: str, graph: grimp.ImportGraph) -> None:
    dead = [
        module
        for module in sorted(graph.modules)
        if module.split(".")[0] == package
        and not graph.find_children(module)
        and not graph.find_modules_that_directly_import(module)
        and not is_started(module)
    ]

    assert dead == []


def test_every_package_of_the_workspace_is_looked_at() -> None:
    members = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]

    assert set(PACKAGES) == set(members)
