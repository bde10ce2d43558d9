"""What every folder of tests may use: a real PostgreSQL, and a fresh database on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from local_cloud.postgres import Postgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One PostgreSQL server for the session (with pytest-xdist: for each worker), about half a second."""
    server = Postgres(data_dir=tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.discard()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database, superuser, gone after the test with whoever is still connected to it."""
    name = f"test_{uuid.uuid4().hex}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)
