"""Users, roles, pools, connections and variables in real Airflow, from one file."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import psycopg
import pytest
from cryptography.fernet import Fernet

from sidecar.testing.plugin import Finished

from .real_airflow import AIRFLOW, NEEDS_AIRFLOW, PATIENCE_SECONDS, Run, settings_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), NEEDS_AIRFLOW]

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SECRET = "a-secret-nobody-may-see"

FILE = """
version: 1
pools: [{{name: heavy, slots: {slots}}}]
variables: [{{key: token, value: {{secret: {secret}, key: token}}}}]
connections:
  - {{id: warehouse, type: postgres, host: db.example.com, extra: {{mode: fast}},
     password: {{secret: {secret}, key: token}}}}
roles: [{{name: Analyst, permissions: [[can_read, DAGs], [can_read, Website]]}}]
users:
  - {{username: ann, email: ann@example.com, first_name: Ann, last_name: Lee, roles: [{roles}],
     password: {{secret: {secret}, key: token}}}}
"""


@pytest.fixture
def secret(aws: str) -> str:
    name = f"objects-{uuid.uuid4().hex}"
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"token": SECRET}))
    return name


@pytest.fixture
def settings(database: str, tmp_path: Path, secret: str) -> dict[str, str]:
    return {
        **settings_for(database, tmp_path),
        "AIRFLOW__CORE__AUTH_MANAGER": FAB,
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "STANDALONE_INIT_OBJECTS_FILE": str(tmp_path / "objects.yaml"),
    }


@pytest.fixture
def call(run_sidecar: Run, settings: dict[str, str]) -> Callable[..., Finished]:
    def run(*arguments: str, **more: str) -> Finished:
        return run_sidecar(
            "standalone_init", *arguments, settings={**settings, **more}, deadline_seconds=PATIENCE_SECONDS
        )

    return run


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_objects_are_made_converge_are_not_made_twice_and_are_pruned_only_when_asked(
    call: Callable[..., Finished], database: str, settings: dict[str, str], secret: str, tmp_path: Path
) -> None:
    file = Path(settings["STANDALONE_INIT_OBJECTS_FILE"])
    file.write_text(FILE.format(slots=4, roles="Analyst, Viewer", secret=secret))
    said = [call("apply")]
    assert said[0].code == 0, said[0]

    assert rows(database, "SELECT slots FROM slot_pool WHERE pool = 'heavy'") == [(4,)]
    assert rows(database, "SELECT is_encrypted FROM variable WHERE key = 'token'") == [(True,)]
    held = "SELECT r.name FROM ab_user_role ur JOIN ab_role r ON r.id = ur.role_id"
    assert sorted(rows(database, held)) == [("Analyst",), ("Viewer",)]
    assert airflow_reads(settings, database, "warehouse") == f"postgres://:{SECRET}@db.example.com/?mode=fast"

    said.append(call("sync"))
    assert said[-1].code == 0
    assert "nothing_to_do" in said[-1].out

    file.write_text(
        FILE.format(slots=9, roles="Viewer", secret=secret).replace("[{key: token", "[{key: other")
    )
    said.append(call("sync", "--diff"))
    assert said[-1].out.splitlines() == [
        "change user ann: roles ['Analyst', 'Viewer'] to ['Viewer']",
        "change pool heavy: slots 4 to 9",
        "create variable other",
    ]
    assert rows(database, "SELECT slots FROM slot_pool WHERE pool = 'heavy'") == [(4,)]

    said.append(call("sync"))
    assert said[-1].code == 0, said[-1]
    assert sorted(rows(database, held)) == [("Viewer",)]
    assert sorted(rows(database, "SELECT key FROM variable")) == [("other",), ("token",)]

    said.append(call("sync", "--prune"))
    assert rows(database, "SELECT key FROM variable") == [("other",)]
    assert rows(database, "SELECT pool FROM slot_pool WHERE pool = 'default_pool'") == [("default_pool",)]

    assert all(SECRET not in one.out + one.err for one in said)


def test_a_wrong_fernet_key_stops_before_any_write(
    call: Callable[..., Finished], database: str, settings: dict[str, str], secret: str
) -> None:
    file = Path(settings["STANDALONE_INIT_OBJECTS_FILE"])
    file.write_text(FILE.format(slots=4, roles="Viewer", secret=secret))
    assert call("apply").code == 0
    file.write_text(FILE.format(slots=9, roles="Viewer", secret=secret))

    done = call("sync", AIRFLOW__CORE__FERNET_KEY=Fernet.generate_key().decode())

    assert done.code == 78, done
    assert "FERNET_KEY is not the one it was encrypted with" in done.out + done.err
    assert rows(database, "SELECT slots FROM slot_pool WHERE pool = 'heavy'") == [(4,)]


def test_the_fernet_key_is_rotated_in_two_phases_and_every_row_is_read_with_the_new_one(
    call: Callable[..., Finished], database: str, settings: dict[str, str], secret: str
) -> None:
    file = Path(settings["STANDALONE_INIT_OBJECTS_FILE"])
    file.write_text(FILE.format(slots=4, roles="Viewer", secret=secret))
    old = settings["AIRFLOW__CORE__FERNET_KEY"]
    name = f"fernet-{uuid.uuid4().hex}"
    client = boto3.client("secretsmanager")
    client.create_secret(Name=name, SecretString=old)
    named = {"STANDALONE_INIT_SECRETS": json.dumps({"fernet_key": name})}
    assert call("apply", **named).code == 0

    assert call("secrets", "rotate-fernet", **named).code == 0
    both = client.get_secret_value(SecretId=name)["SecretString"]
    done = call("secrets", "rotate-fernet", "--finish", **named, AIRFLOW__CORE__FERNET_KEY=both)

    assert done.code == 0, done
    new = client.get_secret_value(SecretId=name)["SecretString"]
    assert new == both.split(",")[0] != old
    for (token,) in rows(database, "SELECT val FROM variable UNION SELECT password FROM connection"):
        assert Fernet(new).decrypt(str(token)).decode() == SECRET
    after = call("sync", **named, AIRFLOW__CORE__FERNET_KEY=new)
    assert "nothing_to_do" in after.out, after
    assert not any(key in done.out + done.err for key in (old, new))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("roles: [Viewer]", "roles: [Nobody]"), "there is no role 'Nobody'"),
        (("key: token}}]", "key: absent}}]"), "with a field 'absent'"),
        (("slots: 4", "slots: four"), "pools.0.slots"),
    ],
)
def test_one_bad_entry_stops_the_whole_file_before_the_first_write(  # noqa: PLR0917 - pytest passes by name
    call: Callable[..., Finished],
    database: str,
    settings: dict[str, str],
    secret: str,
    change: tuple[str, str],
    complaint: str,
) -> None:
    before, after = change
    text = FILE.format(slots=4, roles="Viewer", secret=secret)
    assert before in text
    Path(settings["STANDALONE_INIT_OBJECTS_FILE"]).write_text(text.replace(before, after))
    assert call("apply", STANDALONE_INIT_OBJECTS_FILE="").code == 0

    done = call("sync")

    assert done.code == 2, done
    assert complaint in done.out + done.err
    assert rows(database, "SELECT pool FROM slot_pool") == [("default_pool",)]
    assert rows(database, "SELECT count(*) FROM variable") == [(0,)]


def airflow_reads(settings: dict[str, str], database: str, connection: str) -> str:
    """Return the connection's URI as Airflow itself decrypts it."""
    script = (
        "from airflow.settings import Session; from airflow.models.connection import Connection;"
        f"print('URI' + Session().query(Connection).filter_by(conn_id='{connection}').one().get_uri())"
    )
    asked = subprocess.run(
        [AIRFLOW.parent / "python", "-c", script],
        env={**settings, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.replace("sql:", "sql+psycopg2:")},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    return asked.stdout.split("URI")[1].strip()
