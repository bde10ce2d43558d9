"""A fake Airflow per test, and standalone_init's settings for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from local_cloud.postgres import Postgres
from sidecar.testing.plugin import Finished

from .fakes import FakeAirflow, install
from .real_airflow import database_of

OLD_RELEASE = "3.2.0"


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[FakeAirflow]:
    """An image with four revisions."""
    fake = install(tmp_path / "image")
    yield fake
    (fake.home / "release").touch()  # one that hangs, and whose run was killed, ends now


@pytest.fixture
def settings(airflow: FakeAirflow, database: str, tmp_path: Path) -> dict[str, str]:
    """Environment of a standalone-init that has the fake Airflow and an empty database."""
    return {
        **airflow.variables,
        "STANDALONE_INIT_DATABASE_URL": database,
        "STANDALONE_INIT_LOG_FORMAT": "json",
        "STANDALONE_INIT_CONNECT_TIMEOUT_SECONDS": "5",
        "STANDALONE_INIT_REPORT": str(tmp_path / "report.json"),
    }


Run = Callable[..., Finished]


@pytest.fixture
def standalone_init(run_sidecar: Callable[..., Finished], settings: dict[str, str]) -> Run:
    """Run ``standalone-init <arguments>`` as a real process, with these settings over the usual ones."""

    def run(*arguments: str, **more: str) -> Finished:
        mine: Mapping[str, str] = {**settings, **more}
        return run_sidecar("standalone_init", *arguments, settings=mine)

    return run


@pytest.fixture(scope="session")
def old_template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a database as Airflow 3.2 leaves it."""
    return database_of(OLD_RELEASE, postgres, tmp_path_factory.mktemp("old-airflow"))


@pytest.fixture
def old_database(postgres: Postgres, old_template: str) -> Iterator[str]:
    """URL of a copy of it."""
    name = f"test_{uuid.uuid4().hex}"
    postgres.create_database(name, template=old_template)
    yield postgres.url(name)
    postgres.drop_database(name)
