"""The sources against real Airflow: the schemas of its own migrations, and its own api-server."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from local_cloud.postgres import Postgres
from sidecar.postgres import Database
from sidecar.secrets import Secret
from sidecar.testing.fake_clock import FakeClock
from sidecar.testing.waiting import wait_until
from worker_scaler.grant_sql import grant_sql
from worker_scaler.sources.database import DatabaseSource
from worker_scaler.sources.facts import Meaning
from worker_scaler.sources.history import DatabaseHistory
from worker_scaler.sources.rest import RestSource
from worker_scaler.sources.rest_client import RestClient
from worker_scaler.sources.session import schema_of

from .airflow_tables import TABLES_3_3, Airflow
from .rest_contract import Open, RestContract

AIRFLOW = Path(__file__).parents[2] / ".airflow" / "bin" / "airflow"
RELEASES = ("2.10.0", "2.10.3", "3.0.0", "3.1.0", "3.2.0", "3.3.0")  # 2.11 has the schema of 2.10.3
PATIENCE_SECONDS = 240.0
PASSWORD = "only-for-this-test"

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not AIRFLOW.exists(), reason="no .airflow: run 'make .airflow/.ready' first"),
]

_COLUMNS: LiteralString = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
"""


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


def environ_of(postgres: Postgres, name: str, home: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url(name, driver="psycopg2"),
    }


def migrate(postgres: Postgres, name: str, home: Path, release: str) -> None:
    """Let Airflow's own migrations bring the database to a release, as an upgrade does."""
    command = [str(AIRFLOW), "db", "migrate", "--use-migration-files", "--to-version", release]
    done = subprocess.run(
        command,
        env=environ_of(postgres, name, home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def columns(url: str) -> set[tuple[str, str, str]]:
    with psycopg.connect(url) as connection:
        return set(connection.execute(_COLUMNS).fetchall())


@pytest.fixture
def fresh(postgres: Postgres) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    postgres.create_database(name)
    yield name
    postgres.drop_database(name)


def test_one_scaler_reads_through_every_upgrade_from_2_10_to_3_3(
    postgres: Postgres, fresh: str, database: str, tmp_path: Path
) -> None:
    airflow = Airflow(url=postgres.url(fresh))
    role = f"scaler_{uuid.uuid4().hex[:12]}"
    reach = Database(Secret(literal=airflow.as_role(role), read=no_secrets), application_name="test")
    clock = FakeClock()
    blind: list[tuple[str, ...]] = []
    meaning = Meaning(parallelism=32, default_queue="light")
    with ExitStack() as stack:
        stack.callback(airflow.drop_role, role)
        source = stack.enter_context(
            closing(
                DatabaseSource(
                    reach,
                    statement_timeout_seconds=30,
                    meaning=meaning,
                    clock=clock,
                    tell_blind_spots=blind.append,
                )
            )
        )
        for release in RELEASES:
            migrate(postgres, fresh, tmp_path, release)
            for line in grant_sql(schema_of(reach), role=role):
                airflow.run(line)
            if release == RELEASES[0]:
                fill(airflow)
            if release == "3.2.0":
                airflow.callback("queued", path="a.b", executor=None)
            if release == "3.3.0":
                airflow.insert("connection_test_request", state="running", queue="light")
            clock.advance(301)

            read = source.read()

            heavy = read.queues["heavy"]
            assert (heavy.queued, heavy.running, heavy.scheduled_by_pool) == (1, 1, {"default_pool": 1}), (
                release
            )
            assert heavy.busy_hosts == {"10.0.0.1": 1}
            assert [task.dag_id for task in read.running_tasks] == ["d"]
            assert read.limits is not None
            assert read.limits.parallelism is None  # no scheduler is alive
            assert "default_pool" in read.limits.pools
            expected = {"3.2.0": 1, "3.3.0": 2}.get(release, 0)
            assert read.of(["light"]).callbacks == expected, release
            assert blind[-1] == (), release
            assert DatabaseHistory(reach, days=7).read().next_runs == ()
    Airflow(url=database).run(TABLES_3_3)
    assert columns(database) <= columns(airflow.url)


def fill(airflow: Airflow) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the machine's own, as the database's is
    given: dict[str, Any] = {"dag_id": "d", "run_id": "r", "start_date": now}
    airflow.insert("dag_run", dag_id="d", run_id="r", start_date=now, run_type="manual", execution_date=now)
    airflow.insert("dag", dag_id="d", is_paused=False, is_active=True)
    airflow.task("queued", task_id="a", **given)
    airflow.task("running", task_id="b", hostname="10.0.0.1", **given)
    airflow.task("scheduled", task_id="c", **given)


# ---------------------------------------------------------------- the API


@dataclass(frozen=True, slots=True, kw_only=True)
class RealApi:
    """Airflow's own api-server, and the tables behind it."""

    url: str
    tables: Airflow
    username: str = "viewer"

    def task(self, state: str, **values: Any) -> None:
        """Insert a task instance."""
        given = {name: value for name, value in values.items() if name != "queued_when"}
        if values.get("queued_when"):
            given["queued_dttm"] = values["queued_when"]
        self.tables.task(state, **{"dag_id": "d", "run_id": "r", "task_id": uuid.uuid4().hex, **given})


@pytest.fixture(scope="module")
def api_server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApi]:
    home, name = tmp_path_factory.mktemp("airflow"), f"api_{uuid.uuid4().hex}"
    postgres.create_database(name)
    migrate(postgres, name, home, RELEASES[-1])
    (home / "passwords.json").write_text(json.dumps({"viewer": PASSWORD}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = environ_of(postgres, name, home) | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": uuid.uuid4().hex,
        "AIRFLOW__API_AUTH__JWT_SECRET": uuid.uuid4().hex * 2,
    }
    tables = Airflow(url=postgres.url(name))
    now = datetime.now(UTC)  # noqa: TID251 - the machine's own, as the database's is
    tables.insert("dag_bundle", name="b")
    tables.insert(
        "dag", dag_id="d", is_paused=False, is_stale=False, bundle_name="b", partition_mapper_info="[]"
    )
    tables.insert("dag_run", dag_id="d", run_id="r", start_date=now, run_after=now, run_type="manual")
    with (home / "log").open("wb") as log:
        command = [str(AIRFLOW), "api-server", "--apps", "core"]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(
                lambda: process.poll() is not None or is_up(url),
                "the api-server answers",
                deadline_seconds=PATIENCE_SECONDS,
            )
            assert process.poll() is None, (home / "log").read_text()[-3000:]
            yield RealApi(url=url, tables=tables)
        finally:
            process.terminate()
            process.wait(60)
            postgres.drop_database(name)


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v2/version", timeout=5):  # noqa: S310 - loopback
            return True
    except (urllib.error.URLError, OSError):
        return False


class TestTheRealApiServer(RestContract):
    """The suite that the fake passes too."""

    @pytest.fixture
    def api(self, api_server: RealApi) -> RealApi:
        api_server.tables.run("DELETE FROM task_instance")
        return api_server

    @pytest.fixture
    def opened(self, api: RealApi) -> Iterator[Open]:
        with ExitStack() as stack:

            def make(*, password: str = PASSWORD) -> RestSource:
                clock = FakeClock(datetime.now(UTC))  # noqa: TID251 - the machine's own, as the server's is
                client = RestClient(
                    api.url,
                    username=api.username,
                    password=Secret(literal=password, read=no_secrets),
                    timeout_seconds=60,
                    clock=clock,
                )
                source = RestSource(client, queues=["heavy", "light"], meaning=Meaning(), clock=clock)
                return stack.enter_context(closing(source))

            yield make
