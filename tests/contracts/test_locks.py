"""The locks are what is installed: they must satisfy every member, and work with any package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
MEMBERS = [ROOT / "shared", *sorted((ROOT / "services").iterdir()), ROOT / "local"]
SERVICES = sorted(path for path in (ROOT / "services").iterdir())
LOCKS = [*sorted((ROOT / "locks").glob("*.txt")), *sorted((ROOT / "airflow_side" / "locks").glob("*.txt"))]
OWN = {"sidecar"}
CHASSIS = tomllib.loads((ROOT / "shared" / "pyproject.toml").read_text())["project"]


def pins(lock: Path) -> dict[str, list[Version]]:
    """Return every version a lock may install of each package (markers can give several)."""
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock.read_text(), re.MULTILINE
    ):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


def requirements(pyproject: Path) -> list[Requirement]:
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def unsatisfied(wanted: list[Requirement], lock: Path) -> list[str]:
    available = pins(lock)
    return [
        str(requirement)
        for requirement in wanted
        if requirement.name not in OWN
        and not any(
            requirement.specifier.contains(version, prereleases=True)
            for version in available.get(canonicalize_name(requirement.name), [])
        )
    ]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_the_workspace_lock_satisfies_every_member(member: Path) -> None:
    assert unsatisfied(requirements(member / "pyproject.toml"), ROOT / "locks" / "workspace.txt") == []


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_each_service_lock_satisfies_its_service(service: Path) -> None:
    project = tomllib.loads((service / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    (chassis,) = [requirement for requirement in wanted if requirement.name == "sidecar"]
    wanted += [Requirement(line) for line in CHASSIS["dependencies"]]
    wanted += [
        Requirement(line) for extra in chassis.extras for line in CHASSIS["optional-dependencies"][extra]
    ]

    assert unsatisfied(wanted, ROOT / "locks" / f"{project['name']}.txt") == []


def test_the_airflow_lock_satisfies_airflow_side() -> None:
    wanted = requirements(ROOT / "airflow_side" / "pyproject.toml")

    assert wanted
    assert unsatisfied(wanted, ROOT / "airflow_side" / "locks" / "airflow-3.3.txt") == []


def test_the_development_tools_are_locked() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]

    assert unsatisfied([Requirement(line) for line in groups["dev"]], ROOT / "locks" / "workspace.txt") == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_carries_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    blocks = [block for block in re.split(r"\n(?=\S)", text) if not block.startswith("#")]

    assert "://" not in text
    assert len(blocks) > 5
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
