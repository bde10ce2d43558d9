"""All that the one statement reads of Airflow 3.3's tables, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from sidecar.errors import Transient
from sidecar.postgres import Database
from sidecar.secrets import Secret
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.executors import Executors
from worker_scaler.grant_sql import grant_sql
from worker_scaler.limits import Pool
from worker_scaler.model import QueueDepth
from worker_scaler.sources.database import DatabaseSource
from worker_scaler.sources.facts import Meaning
from worker_scaler.sources.statement import statement

from .airflow_tables import Airflow, airflow, role

pytestmark = pytest.mark.integration
__all__ = ["airflow", "role"]  # fixtures

Open = Callable[..., DatabaseSource]


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


def machine_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the machine's own, as the database's is


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open sources that are closed after the test."""
    with ExitStack() as stack:

        def open_source(url: str, **more: Any) -> DatabaseSource:
            given: dict[str, Any] = {
                "statement_timeout_seconds": 5.0,
                "meaning": Meaning(),
                "clock": FakeClock(),
            }
            database = Database(Secret(literal=url, read=no_secrets), application_name="test")
            return stack.enter_context(closing(DatabaseSource(database, **{**given, **more})))

        yield open_source


def test_callbacks_for_executors_are_demand_of_the_default_queue_or_of_the_one_they_name(
    airflow: Airflow, opened: Open
) -> None:
    airflow.callback("queued", path="a.b", executor=None)
    airflow.callback("running", path="a.b", executor="CeleryExecutor")
    airflow.callback("queued", path="a.b", executor=None, queue="heavy")
    airflow.callback("queued", path="a.b", executor="LocalExecutor")

    queues = opened(airflow.url, meaning=Meaning(default_queue="light")).read().queues

    assert (queues["light"].callbacks, queues["heavy"].callbacks) == (2, 1)
    assert queues["light"].demand == 2
    assert queues["light"].oldest_queued_age_seconds is not None


def test_callbacks_that_no_executor_holds_are_not_counted(airflow: Airflow, opened: Open) -> None:
    for state in ("scheduled", "pending", "success", "failed"):
        airflow.callback(state, path="a.b")
    airflow.insert("callback", type="triggerer", state="running", data="{}")
    airflow.insert("callback", type="dag_processor", state=None, data="{}")
    airflow.insert(
        "callback",
        type="executor",
        state="running",
        data="{}",
        created_at=machine_now() - timedelta(hours=13),
    )

    assert opened(airflow.url).read().queues == {}


def test_connection_tests_are_demand_of_their_queue(airflow: Airflow, opened: Open) -> None:
    airflow.insert("connection_test_request", state="queued", queue="heavy")
    airflow.insert("connection_test_request", state="running", queue=None, executor="CeleryExecutor")
    airflow.insert("connection_test_request", state="running", queue=None, executor="LocalExecutor")
    airflow.insert("connection_test_request", state="pending", queue="heavy")

    queues = opened(airflow.url).read().queues

    assert (queues["heavy"].callbacks, queues["default"].callbacks) == (1, 1)


def test_running_tasks_are_told_with_their_host_and_begin(airflow: Airflow, opened: Open) -> None:
    begin, beat = machine_now() - timedelta(minutes=5), machine_now()
    airflow.task(
        "running",
        hostname="10.0.0.1",
        dag_id="d",
        task_id="t",
        start_date=begin,
        last_heartbeat_at=beat,
    )
    airflow.task("running", hostname="10.0.0.2", executor="KubernetesExecutor")

    (task,) = opened(airflow.url).read().running_tasks

    assert (task.host, task.queue, task.dag_id, task.task_id) == ("10.0.0.1", "heavy", "d", "t")
    assert (task.started_at, task.heartbeat_at) == (begin, beat)


def test_pools_and_parallelism_are_told_as_airflow_counts_them(airflow: Airflow, opened: Open) -> None:
    airflow.insert("slot_pool", pool="default_pool", slots=128, include_deferred=False)
    airflow.insert("slot_pool", pool="waits", slots=3, include_deferred=True)
    airflow.insert("slot_pool", pool="endless", slots=-1, include_deferred=False)
    for state in ("queued", "running", "deferred", "scheduled"):
        airflow.task(state, pool_slots=2)
        airflow.task(state, pool="waits")
    airflow.task("running", executor="LocalExecutor")
    now = machine_now()
    airflow.insert("job", job_type="SchedulerJob", state="running", latest_heartbeat=now)
    airflow.insert("job", job_type="SchedulerJob", state="running", latest_heartbeat=now)
    airflow.insert(
        "job", job_type="SchedulerJob", state="running", latest_heartbeat=now - timedelta(minutes=5)
    )
    airflow.insert("job", job_type="TriggererJob", state="running", latest_heartbeat=now)

    limits = opened(airflow.url, meaning=Meaning(parallelism=32)).read().limits

    assert limits is not None
    assert limits.parallelism == 64
    assert limits.executing == 5
    assert limits.pools == {
        "default_pool": Pool(name="default_pool", slots=128, used=5),
        "waits": Pool(name="waits", slots=3, used=3),
        "endless": Pool(name="endless", slots=-1, used=0),
    }


def test_scheduled_tasks_are_demand_only_when_asked_for_and_as_far_as_the_pool_has_room(
    airflow: Airflow, opened: Open
) -> None:
    airflow.insert("slot_pool", pool="default_pool", slots=3, include_deferred=False)
    airflow.task("running")
    for _ in range(5):
        airflow.task("scheduled")

    plain = opened(airflow.url).read().queues["heavy"]
    ahead = opened(airflow.url, meaning=Meaning(counts_admissible=True)).read().queues["heavy"]

    assert (plain.demand, plain.scheduled_by_pool) == (1, {"default_pool": 5})
    assert (ahead.demand, ahead.admissible) == (3, 2)


def test_an_alias_counts_as_celery_unless_the_settings_name_others(airflow: Airflow, opened: Open) -> None:
    airflow.task("queued", executor="fast")
    airflow.task("queued", executor=None)

    def queued(*celery: str) -> int:
        meaning = Meaning(executors=Executors(celery=celery))
        return opened(airflow.url, meaning=meaning).read().of(["heavy"]).queued

    assert queued() == 2
    assert queued("fast") == 1
    assert queued("default") == 1
    assert queued("CeleryExecutor") == 0


def test_the_statement_never_walks_through_the_whole_history(airflow: Airflow, opened: Open) -> None:
    airflow.run(
        "INSERT INTO task_instance (id, dag_id, task_id, run_id, pool, pool_slots, try_number, state, queue) "
        "SELECT gen_random_uuid(), 'd', 't', 'r' || i, 'default_pool', 1, 1, "
        "CASE WHEN i % 1000 = 0 THEN 'running' ELSE 'success' END, 'heavy' FROM generate_series(1, 20000) i"
    )
    airflow.insert("slot_pool", pool="default_pool", slots=128, include_deferred=True)
    airflow.run("ANALYZE")
    schema = opened(airflow.url).schema()

    with psycopg.connect(airflow.url) as connection:
        plan = connection.execute("EXPLAIN " + statement(schema)).fetchall()

    text = "\n".join(line for (line,) in plan)
    assert "ti_state" in text
    assert "Seq Scan on task_instance" not in text


# ---------------------------------------------------------------- rights


def test_a_role_with_what_grant_sql_prints_reads_all_of_it_and_nothing_else(
    airflow: Airflow, role: tuple[str, str], opened: Open
) -> None:
    name, url = role
    for line in grant_sql(opened(airflow.url).schema(), role=name):
        airflow.run(line)
    airflow.insert("slot_pool", pool="default_pool", slots=1, include_deferred=False)
    airflow.insert("job", job_type="SchedulerJob", state="running", latest_heartbeat=machine_now())
    airflow.task("running", hostname="10.0.0.1")
    airflow.task("scheduled")
    airflow.callback("queued", path="a.b", kwargs={"password": "hunter2"})
    airflow.insert("connection_test_request", state="queued", queue="heavy")
    blind: list[tuple[str, ...]] = []

    read = opened(url, meaning=Meaning(parallelism=4), tell_blind_spots=blind.append).read()

    assert blind == [()]
    assert read.queues["default"].callbacks == 1
    assert read.queues["heavy"] == QueueDepth(
        running=1,
        callbacks=1,
        scheduled_by_pool={"default_pool": 1},
        busy_hosts={"10.0.0.1": 1},
        oldest_queued_age_seconds=read.queues["heavy"].oldest_queued_age_seconds,
    )
    assert read.limits is not None
    assert read.limits.parallelism == 4
    assert len(read.running_tasks) == 1
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT data FROM callback")
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE task_instance SET state = 'success'")


def test_what_may_not_be_read_is_told_and_the_rest_is_read(
    airflow: Airflow, role: tuple[str, str], opened: Open
) -> None:
    name, url = role
    airflow.run(f"GRANT SELECT (state, queue, executor, hostname, queued_dttm) ON task_instance TO {name}")
    airflow.task("queued")
    airflow.callback("queued", path="a.b")
    blind: list[tuple[str, ...]] = []

    read = opened(url, tell_blind_spots=blind.append).read()

    assert read.queues["heavy"].queued == 1
    assert "default" not in read.queues
    assert any("callbacks are not counted" in spot for spot in blind[0])
    assert any("connection tests are not counted" in spot for spot in blind[0])


# ---------------------------------------------------------------- accidents


def test_a_backend_that_is_terminated_between_two_ticks_is_not_noticed(
    airflow: Airflow, opened: Open
) -> None:
    airflow.task("queued")
    source = opened(airflow.url)
    source.read()

    airflow.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'")

    assert source.read().queues["heavy"].queued == 1


def test_columns_and_tables_that_an_upgrade_brings_or_takes_are_looked_up_again(
    airflow: Airflow, opened: Open
) -> None:
    airflow.task("running", hostname="10.0.0.1")
    clock = FakeClock()
    source = opened(airflow.url, clock=clock)
    assert source.read().running_tasks

    airflow.run("ALTER TABLE task_instance RENAME COLUMN last_heartbeat_at TO heard_at")
    airflow.run("DROP TABLE slot_pool")
    (task,) = source.read().running_tasks
    assert task.heartbeat_at is None

    airflow.run("ALTER TABLE callback RENAME TO later")
    airflow.run("ALTER TABLE later RENAME TO callback")
    airflow.callback("queued", path="a.b")
    clock.advance(301)
    assert source.read().queues["default"].callbacks == 1


def test_a_server_that_became_a_standby_gives_no_reading(
    airflow: Airflow, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(airflow.url)
    source.read()
    # What a demoted server answers, without the minute that demoting one takes.
    airflow.run("CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    airflow.run(
        "CREATE FUNCTION public.pg_last_xact_replay_timestamp() RETURNS timestamptz "
        "LANGUAGE sql AS 'SELECT now()'"
    )
    session = source._session
    assert session is not None
    session.connection.execute("SET search_path = public, pg_catalog")

    source.read()

    assert source._session is not session
    assert source._session is not None
    assert source._session.was_replica is False


def test_a_statement_that_takes_too_long_is_no_reading_and_the_next_one_is(
    airflow: Airflow, opened: Open
) -> None:
    source = opened(airflow.url, statement_timeout_seconds=0.1)
    source.read()
    with psycopg.connect(airflow.url) as holder:
        holder.execute("LOCK TABLE task_instance IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Transient, match="statement timeout"):
            source.read()

    assert source.read().queues == {}
