"""IAM tokens on a real PostgreSQL, behind a gate that checks them as RDS does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from airflow_ecs.database_iam import TOKEN_LIFE_SECONDS, Tokens

from .rds_gate import SECRET_KEY, RdsGate
from .workers import AIRFLOW_PYTHON, PROGRAMS

with_airflow = pytest.mark.skipif(
    not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready"
)


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# As the README has it.
LOCAL_SETTINGS = """
from airflow_ecs import database_iam
from airflow_ecs.database_iam import create_async_metadata_engine, create_metadata_engine

database_iam.watch_all_engines()
"""


class Client:
    """A process of Airflow's python that connects when told to."""

    def __init__(self, gate: RdsGate, database: str, home: Path) -> None:
        self._process = subprocess.Popen(
            [AIRFLOW_PYTHON, PROGRAMS / "iam_connect.py"],
            env={
                "PATH": os.defpath, "HOME": str(home), "PLACE": f"airflow@127.0.0.1:{gate.port}/{database}",
                **CREDENTIALS,
            },
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture
def gate(database: str) -> Iterator[RdsGate]:
    url = urlsplit(database)
    assert url.hostname is not None
    assert url.port is not None
    with RdsGate(
        host=url.hostname, port=url.port, user=url.username or "", password=unquote(url.password or "")
    ) as made:
        yield made


@pytest.fixture
def client(gate: RdsGate, database: str, tmp_path: Path) -> Iterator[Client]:
    made = Client(gate, urlsplit(database).path[1:], tmp_path)
    yield made
    made.end()


@pytest.mark.integration
@with_airflow
def test_every_engine_of_airflow_and_of_celery_connects_with_a_token(gate: RdsGate, client: Client) -> None:
    answers = {name: client.ask(name) for name in ("psycopg2", "psycopg", "asyncpg", "celery", "forked")}
    assert set(answers.values()) == {"42"}, answers
    assert gate.refusals == []
    assert len(gate.tokens) == 5
    assert len(set(gate.tokens)) == 1, "one token serves them for ten minutes"


@pytest.mark.integration
@with_airflow
def test_new_connections_survive_the_end_of_a_token(gate: RdsGate, client: Client) -> None:
    assert client.ask("psycopg2") == "42"
    gate.ahead = timedelta(seconds=TOKEN_LIFE_SECONDS + 60)
    assert "expired" in client.ask("psycopg2"), "the gate refuses what has expired"
    gate.ahead = timedelta(0)
    client.ask("later 600")
    assert client.ask("psycopg2") == client.ask("celery") == client.ask("forked") == "42"
    assert len(set(gate.tokens)) <= 2


@pytest.mark.integration
@with_airflow
def test_a_url_with_a_password_is_left_alone(gate: RdsGate, client: Client) -> None:
    client.ask("with_password")
    assert gate.tokens == ["own"]


@pytest.mark.integration
@with_airflow
def test_airflow_reaches_its_database_through_its_local_settings(
    gate: RdsGate, database: str, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/airflow_local_settings.py").write_text(LOCAL_SETTINGS)
    place = f"airflow@127.0.0.1:{gate.port}/{urlsplit(database).path[1:]}"
    done = subprocess.run(
        [AIRFLOW_PYTHON.with_name("airflow"), "db", "check"],
        env={
            "PATH": os.defpath, "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path), **CREDENTIALS,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{place}?sslmode=disable",
        },
        check=False, capture_output=True, text=True, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert gate.refusals == []
    assert gate.tokens
    assert gate.tokens[0] not in done.stdout + done.stderr


def test_a_token_is_used_for_ten_minutes_and_made_for_each_host_port_and_user() -> None:
    now, made = [0.0], []

    def sign(host: str, port: int, user: str) -> str:
        made.append((host, port, user))
        return f"token {len(made)}"

    tokens = Tokens(sign, now=lambda: now[0])
    assert tokens.get("a", 1, "u") == tokens.get("a", 1, "u") == "token 1"
    assert tokens.get("b", 1, "u") == "token 2"
    now[0] = 599.9
    assert tokens.get("a", 1, "u") == "token 1"
    now[0] = 600.0
    assert tokens.get("a", 1, "u") == "token 3"
    assert TOKEN_LIFE_SECONDS - 600 >= 300


def test_a_child_that_was_forked_while_a_token_is_made_does_not_wait_for_ever() -> None:
    tokens = Tokens(lambda _host, _port, _user: "token")
    with tokens._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if tokens.get("h", 1, "u") == "token" else 1)
    assert os.waitpid(child, 0)[1] == 0
