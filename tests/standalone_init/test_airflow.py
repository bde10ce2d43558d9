"""What is learnt about Airflow without importing it: its Python, its version, its revisions, its options."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sidecar.errors import ConfigError
from standalone_init.airflow_cli import AirflowCli
from standalone_init.airflow_config import AirflowConfig

from .fakes import REVISIONS, VERSION, FakeAirflow

SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


def cli(airflow: FakeAirflow, command: str = "airflow", python: Path | None = None) -> AirflowCli:
    return AirflowCli(command=command, python=python, environ=airflow.variables)


def test_version_and_revisions_are_read_without_importing_airflow(airflow: FakeAirflow) -> None:
    image = cli(airflow).image(auth_manager=SIMPLE)

    assert image.airflow_version == VERSION
    assert image.core.heads == {REVISIONS[-1]}
    assert image.core.pending([REVISIONS[0]]) == 3
    assert image.managers == ()


def install_manager(airflow: FakeAirflow, package: str, table: str) -> str:
    """Add a provider with a database manager; return its dotted name."""
    home = airflow.home / "site" / package
    versions = home / "migrations/versions"
    versions.mkdir(parents=True)
    (versions / "one.py").write_text('revision = "f1"\ndown_revision = None\n')
    (home / "models").mkdir()
    (home / "models" / "db.py").write_text(f'class Manager:\n    version_table_name = "{table}"\n')
    name = f"{package.replace('/', '.')}.models.db.Manager"
    (home / "get_provider_info.py").write_text(f'INFO = {{"db-managers": ["{name}"]}}\n')
    return name


def test_the_managers_of_providers_are_known_and_the_auth_managers_own_is_required(
    airflow: FakeAirflow,
) -> None:
    fab = install_manager(airflow, "airflow/providers/fab", "alembic_version_fab")
    edge = install_manager(airflow, "airflow/providers/acme/edge", "alembic_version_edge")

    image = cli(airflow).image(
        auth_manager="airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    )

    found = {manager.name: manager for manager in image.managers}
    assert set(found) == {fab, edge}
    assert found[fab].version_table == "alembic_version_fab"
    assert found[fab].chain.heads == {"f1"}
    assert found[fab].is_required
    assert not found[edge].is_required


def test_a_configured_manager_is_required_and_one_that_cannot_be_read_is_named(airflow: FakeAirflow) -> None:
    own = install_manager(airflow, "ours/billing", "alembic_version_billing")

    image = cli(airflow).image(auth_manager=SIMPLE, external_db_managers=[own, "no.such.Manager"])

    assert [(manager.name, manager.is_required) for manager in image.managers] == [(own, True)]
    assert image.unreadable_managers == ("no.such.Manager",)


@pytest.mark.parametrize(
    "first_lines",
    [
        f"#!{sys.executable}\n",
        "#!/usr/bin/env python3\n",
        f'#!/bin/sh\n\'\'\'exec\' "{sys.executable}" "$0" "$@"\n',
    ],
)
def test_the_python_is_found_in_each_kind_of_script(airflow: FakeAirflow, first_lines: str) -> None:
    (airflow.home / "airflow").write_text(first_lines)

    assert cli(airflow).image(auth_manager=SIMPLE).airflow_version == VERSION


def test_a_command_that_is_no_script_asks_for_the_python(airflow: FakeAirflow) -> None:
    (airflow.home / "airflow").write_bytes(b"\x7fELF")

    with pytest.raises(ConfigError, match="Set STANDALONE_INIT_AIRFLOW_PYTHON"):
        cli(airflow).image(auth_manager=SIMPLE)
    assert cli(airflow, python=Path(sys.executable)).image(auth_manager=SIMPLE).airflow_version == VERSION


def test_a_module_call_is_a_command_too(airflow: FakeAirflow) -> None:
    assert cli(airflow, f"{sys.executable} -m airflow").image(auth_manager=SIMPLE).airflow_version == VERSION


def test_a_python_that_does_not_answer_is_named(airflow: FakeAirflow) -> None:
    with pytest.raises(ConfigError, match="/no/such/python"):
        cli(airflow, python=Path("/no/such/python")).image(auth_manager=SIMPLE)


def test_an_option_comes_from_the_variable_then_the_file_then_the_default(tmp_path: Path) -> None:
    home = {"AIRFLOW_HOME": str(tmp_path)}
    assert AirflowConfig(home).simple_users == ("admin",)
    assert AirflowConfig(home).passwords_file == tmp_path / "simple_auth_manager_passwords.json.generated"
    assert AirflowConfig(home).uses_simple_auth

    (tmp_path / "airflow.cfg").write_text("[core]\nsimple_auth_manager_users = ann:admin, bob:viewer\n")
    assert AirflowConfig(home).simple_users == ("ann", "bob")

    variable = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "eve:admin"}
    assert AirflowConfig({**home, **variable}).simple_users == ("eve",)


def test_a_broken_airflow_cfg_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "airflow.cfg").write_text("no section = here\n")

    with pytest.raises(ConfigError, match=r"airflow\.cfg"):
        AirflowConfig({"AIRFLOW_HOME": str(tmp_path)})
