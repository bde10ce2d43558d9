"""The database source against a real PostgreSQL with Airflow's table."""

from __future__ import annotations

import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from sidecar.errors import ConfigError, Transient
from sidecar.postgres import Database
from sidecar.secrets import Secret
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.model import QueueDepth, Reading
from worker_scaler.sources.database import DatabaseSource
from worker_scaler.sources.facts import Meaning

if TYPE_CHECKING:
    from .conftest import AirflowDatabase

pytestmark = pytest.mark.integration


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


class OnceSource:
    """A source whose connection is closed after each answer."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        database = Database(Secret(literal=url, read=no_secrets), application_name="test")
        self._source = DatabaseSource(
            database, statement_timeout_seconds=timeout_seconds, meaning=Meaning(), clock=FakeClock()
        )

    def read(self) -> Reading:
        with closing(self._source) as source:
            return source.read()


def source(url: str, *, timeout_seconds: float = 5.0) -> OnceSource:
    return OnceSource(url, timeout_seconds=timeout_seconds)


def as_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}"))


def test_an_empty_table_is_a_reading_with_the_databases_own_time(airflow_database: AirflowDatabase) -> None:
    read = source(airflow_database.url).read()

    assert read.queues == {}
    assert abs(read.taken_at - datetime.now(UTC)) < timedelta(seconds=30)  # noqa: TID251 - the machine's own
    assert read.taken_at.tzinfo is UTC


def test_tasks_are_counted_by_queue_and_state_with_their_hosts(airflow_database: AirflowDatabase) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251 - the machine's own
    airflow_database.add("queued", queued_dttm=an_hour_ago)
    airflow_database.add("queued", queued_dttm=an_hour_ago + timedelta(minutes=30))
    airflow_database.add("running", hostname="ip-10-0-0-1.ec2.internal", executor="CeleryExecutor")
    airflow_database.add("running", hostname="ip-10-0-0-1.ec2.internal")
    airflow_database.add("restarting", hostname="ip-10-0-0-2.ec2.internal")
    airflow_database.add("running", queue="light", hostname="10.0.0.3")

    read = source(airflow_database.url).read()

    heavy = read.queues["heavy"]
    assert (heavy.queued, heavy.running, heavy.restarting, heavy.demand) == (2, 2, 1, 5)
    assert heavy.busy_hosts == {"ip-10-0-0-1.ec2.internal": 2, "ip-10-0-0-2.ec2.internal": 1}
    assert heavy.oldest_queued_age_seconds == pytest.approx(3600, abs=60)
    assert read.queues["light"] == QueueDepth(running=1, busy_hosts={"10.0.0.3": 1})


@pytest.mark.parametrize("state", ["scheduled", "success", "failed", "deferred", "up_for_retry", None])
def test_tasks_that_hold_no_worker_are_not_counted(
    airflow_database: AirflowDatabase, state: str | None
) -> None:
    airflow_database.add(state, hostname="10.0.0.1")

    assert source(airflow_database.url).read().of(["heavy"]).demand == 0


@pytest.mark.parametrize(
    ("executor", "counts"),
    [
        (None, True),
        ("CeleryExecutor", True),
        ("airflow.providers.celery.executors.celery_executor.CeleryExecutor", True),
        ("LocalExecutor", False),
        ("KubernetesExecutor", False),
    ],
)
def test_only_tasks_of_celery_executors_are_counted(
    airflow_database: AirflowDatabase, executor: str | None, counts: bool
) -> None:
    airflow_database.add("queued", executor=executor)

    assert bool(source(airflow_database.url).read().queues) is counts


def test_a_running_task_without_a_host_name_is_somewhere_unknown(airflow_database: AirflowDatabase) -> None:
    airflow_database.add("running", hostname=None)

    assert source(airflow_database.url).read().queues["heavy"].busy_hosts == {"": 1}


def test_a_user_that_may_read_five_columns_is_enough(airflow_database: AirflowDatabase) -> None:
    airflow_database.run("DROP ROLE IF EXISTS scaler_reader")
    airflow_database.run("CREATE ROLE scaler_reader LOGIN PASSWORD 'five-columns'")
    airflow_database.run(
        "GRANT SELECT (state, queue, executor, hostname, queued_dttm) ON task_instance TO scaler_reader"
    )
    airflow_database.add("queued")
    reader = source(as_user(airflow_database.url, "scaler_reader", "five-columns"))

    assert reader.read().queues["heavy"].queued == 1

    airflow_database.run("REVOKE SELECT (hostname) ON task_instance FROM scaler_reader")
    with pytest.raises(ConfigError, match="grant its user"):
        reader.read()
    airflow_database.run("DROP OWNED BY scaler_reader")
    airflow_database.run("DROP ROLE scaler_reader")


def test_a_database_without_airflow_is_a_wrong_setting(database: str) -> None:
    with pytest.raises(ConfigError, match="task_instance"):
        source(database).read()


def test_a_statement_that_takes_too_long_is_ended_and_is_no_reading(
    airflow_database: AirflowDatabase,
) -> None:
    with psycopg.connect(airflow_database.url) as holder:
        holder.execute("LOCK TABLE task_instance IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(Transient, match="statement timeout"):
            source(airflow_database.url, timeout_seconds=0.1).read()


def test_a_server_that_does_not_answer_is_no_reading() -> None:
    with pytest.raises(Transient):
        source("postgresql://u:p@127.0.0.1:1/airflow").read()


def test_a_password_that_is_rotated_while_a_connection_is_kept_is_read_again(
    airflow_database: AirflowDatabase,
) -> None:
    role = f"rotated_{uuid.uuid4().hex[:12]}"
    airflow_database.run(f"CREATE ROLE {role} LOGIN PASSWORD 'old'")
    airflow_database.run(f"GRANT SELECT ON task_instance TO {role}")
    airflow_database.add("queued")
    stored = [as_user(airflow_database.url, role, "old")]
    database = Database(
        Secret(secret_id="airflow/db", read=lambda _id: stored[-1]), application_name="rotating"
    )
    kept = DatabaseSource(database, statement_timeout_seconds=5, meaning=Meaning(), clock=FakeClock())
    with closing(kept) as scaler:
        assert scaler.read().queues["heavy"].queued == 1

        airflow_database.run(f"ALTER ROLE {role} PASSWORD 'new'")
        stored.append(as_user(airflow_database.url, role, "new"))
        assert scaler.read().queues["heavy"].queued == 1
        airflow_database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rotating'"
        )
        assert scaler.read().queues["heavy"].queued == 1
    airflow_database.run(f"DROP OWNED BY {role}")
    airflow_database.run(f"DROP ROLE {role}")
