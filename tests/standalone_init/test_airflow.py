"""What is learnt about Airflow without importing it: its Python, its version, its revisions, its options."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sidecar.clock import SystemClock
from sidecar.errors import ConfigError
from standalone_init.airflow_cli import AirflowCli
from standalone_init.airflow_config import AirflowConfig

from .fakes import REVISIONS, VERSION, FakeAirflow


def cli(airflow: FakeAirflow, command: str = "airflow", python: Path | None = None) -> AirflowCli:
    return AirflowCli(command=command, python=python, environ=airflow.variables, clock=SystemClock())


def test_version_and_revisions_are_read_without_importing_airflow(airflow: FakeAirflow) -> None:
    image = cli(airflow).image(uses_fab=False)

    assert image.airflow_version == VERSION
    assert image.core.heads == {REVISIONS[-1]}
    assert image.core.pending([REVISIONS[0]]) == 3
    assert image.fab is None


def test_fab_is_known_when_its_provider_is_installed(airflow: FakeAirflow) -> None:
    versions = airflow.home / "site/airflow/providers/fab/migrations/versions"
    versions.mkdir(parents=True)
    (versions / "one.py").write_text('revision = "f1"\ndown_revision = None\n')

    image = cli(airflow).image(uses_fab=True)

    assert image.fab is not None
    assert image.fab.heads == {"f1"}


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

    assert cli(airflow).image(uses_fab=False).airflow_version == VERSION


def test_a_command_that_is_no_script_asks_for_the_python(airflow: FakeAirflow) -> None:
    (airflow.home / "airflow").write_bytes(b"\x7fELF")

    with pytest.raises(ConfigError, match="Set STANDALONE_INIT_AIRFLOW_PYTHON"):
        cli(airflow).image(uses_fab=False)
    assert cli(airflow, python=Path(sys.executable)).image(uses_fab=False).airflow_version == VERSION


def test_a_module_call_is_a_command_too(airflow: FakeAirflow) -> None:
    assert cli(airflow, f"{sys.executable} -m airflow").image(uses_fab=False).airflow_version == VERSION


def test_a_python_that_does_not_answer_is_named(airflow: FakeAirflow) -> None:
    with pytest.raises(ConfigError, match="/no/such/python"):
        cli(airflow, python=Path("/no/such/python")).image(uses_fab=False)


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
