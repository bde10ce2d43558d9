from __future__ import annotations

import json
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from sidecar.errors import ConfigError, Transient
from sidecar.postgres import Database, LoginRefusedError, to_libpq, to_sqlalchemy
from sidecar.secrets import Secret


class Vault:
    """Secrets Manager's place in these tests: it answers with what is current."""

    def __init__(self, current: str) -> None:
        self.current = current
        self.reads = 0

    def __call__(self, secret_id: str) -> str:
        self.reads += 1
        return self.current


def database(vault: Vault) -> Database:
    return Database(Secret(secret_id="db", read=vault), application_name="test")


def with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", f":{password}@")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgresql+psycopg2://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgres://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        ("postgresql://u:p[s/s#?@h/d", "postgresql://u:p%5Bs%2Fs%23%3F@h/d"),
        ("postgresql://u:p%40s@h/d", "postgresql://u:p%40s@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql+asyncpg://u@h", "postgresql://u@h"),
        (
            json.dumps({"username": "u", "password": "p@:/", "host": "h", "port": 1, "dbname": "d"}),
            "postgresql://u:p%40%3A%2F@h:1/d",
        ),
    ],
)
def test_what_airflow_and_rds_call_a_database_is_understood(given: str, wanted: str) -> None:
    assert to_libpq(given) == wanted
    assert to_sqlalchemy(given, driver="psycopg2") == wanted.replace(
        "postgresql://", "postgresql+psycopg2://"
    )


@pytest.mark.parametrize(
    "given", ["mysql://u:hunter22@h/d", "sqlite:////x", "hunter22", "{}", '{"password": "hunter22"}']
)
def test_what_is_no_postgresql_is_refused_without_quoting_it(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        to_libpq(given)

    assert "hunter22" not in str(caught.value)


def test_a_rotated_password_is_read_again_once(database_url: str) -> None:
    vault = Vault(database_url)
    sut = database(vault)
    with sut.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE rotating LOGIN PASSWORD 'second'"))
    parts = urlsplit(database_url)
    old = database_url.replace(f"{parts.username}:{parts.password}@", "rotating:first@")
    vault.current = old
    rotating = database(vault)
    assert vault.reads == 1

    vault.current = old
    rotating._source.value()
    vault.current = old.replace("rotating:first@", "rotating:second@")
    with rotating.connect() as connection:
        who = connection.execute("SELECT current_user").fetchone()

    assert who == ("rotating",)
    with sut.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE rotating"))


def test_a_wrong_password_is_refused_without_being_quoted(database_url: str) -> None:
    with (
        pytest.raises(LoginRefusedError) as caught,
        database(Vault(with_password(database_url, "hunter22"))).connect(),
    ):
        pass

    assert "hunter22" not in f"{caught.value} {caught.value!r}"
    assert "secret 'db'" in caught.value.remedy


def test_an_absent_database_is_a_configuration_error(database_url: str) -> None:
    with (
        pytest.raises(ConfigError, match="does not exist"),
        database(Vault(f"{database_url}_absent")).connect(),
    ):
        pass


def test_a_server_that_does_not_answer_may_be_tried_again() -> None:
    with pytest.raises(Transient), database(Vault("postgresql://u:p@127.0.0.1:1/d")).connect():
        pass


def test_the_connection_is_closed_and_says_who_it_is(database_url: str) -> None:
    with database(Vault(database_url)).connect(options="-c statement_timeout=1234") as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("1234ms",)
        assert connection.execute("SHOW application_name").fetchone() == ("test",)

    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


@pytest.fixture
def database_url(database: str) -> str:
    return database
