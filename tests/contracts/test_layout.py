"""The layout's own test: what a fifth sidecar would have to be, the four are."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tests.pointers import why_it_shows_nothing

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path for path in (ROOT / "services").iterdir())
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
PROMISE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def calls_itself_pure(file: Path) -> bool:
    return re.search(r"\bPure\b", ast.get_docstring(ast.parse(file.read_text())) or "") is not None


def pure_modules(service: Path) -> set[str]:
    """Return the modules of a service that call themselves pure, and those whose name says so."""
    source = service / "src"
    named = {"decide.py", "plan.py", "framing.py", "batching.py"}
    return {
        ".".join(file.relative_to(source).with_suffix("").parts)
        for file in source.rglob("*.py")
        if file.name in named or calls_itself_pure(file)
    }


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_nobody_reaches_around_the_events_module(service: Path) -> None:
    around = re.compile(r"telemetry\.(log|counter|gauge|histogram)\b")
    for file in (service / "src").rglob("*.py"):
        if file.name != "events.py":
            assert not around.search(file.read_text()), file


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("*/*/README.md")), ids=str)
def test_links_between_pages_resolve(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_is_a_pyproject_a_readme_and_its_source(service: Path) -> None:
    names = {path.name for path in service.iterdir() if not path.name.startswith((".", "__"))}

    assert names == {"pyproject.toml", "README.md", "src"}
    assert (service / "src" / service.name / "__main__.py").exists()


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_has_its_console_script_and_its_place_in_every_list(service: Path) -> None:
    script = service.name.replace("_", "-")
    contracts = {contract["name"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}

    assert {point.value for point in entry_points(group="console_scripts", name=script)} == {
        f"{service.name}.__main__:main"
    }
    assert service.name in contracts["services never import each other"]["modules"]
    assert service.name in contracts["only events.py logs and counts"]["source_modules"]
    assert service.name in PYPROJECT["tool"]["importlinter"]["root_packages"]
    assert f"services/{service.name}/src" in PYPROJECT["tool"]["mypy"]["mypy_path"]
    assert service.name in PYPROJECT["tool"]["coverage"]["run"]["source"]
    pure = next(contract for name, contract in contracts.items() if name.startswith("decisions are pure"))
    assert pure_modules(service) <= set(pure["source_modules"])
    assert pure_modules(service)
    assert f"services/{service.name}" in MAKEFILE
    assert script in MAKEFILE
    assert (ROOT / "tests" / service.name).is_dir()
    assert (ROOT / "docs" / "reference" / f"{script}.md").exists()
    assert (ROOT / "locks" / f"{script}.txt").exists()
    assert (ROOT / "tests" / "contracts" / "golden" / f"{service.name}.metrics.txt").exists()


@pytest.mark.parametrize("member", [*SERVICES, ROOT / "shared", ROOT / "local"], ids=lambda path: path.name)
def test_every_promise_names_a_test_that_exists(member: Path) -> None:
    text = (member / "README.md").read_text()
    section = text.split("## Promises", 1)[1].split("\n## ", 1)[0]
    bullets = re.split(r"\n(?=(?:- |\d+\. ))", section)[1:]

    assert len(bullets) >= 3
    for bullet in bullets:
        named = PROMISE.findall(bullet)
        assert named, f"names no test: {bullet}"
        for file, test in named:
            assert not (why := why_it_shows_nothing(ROOT / file, test)), f"{file}::{test}: {why}"


def test_the_chassis_stays_small() -> None:
    """About a thousand lines of code; docstrings, comments and blank lines are free."""
    lines = 0
    for file in (ROOT / "shared" / "src" / "sidecar").glob("*.py"):
        text = re.sub(r'"""[\s\S]*?"""', "", file.read_text())
        lines += sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))

    assert lines <= 1200
