"""An upgrade as a real process, with an ECS that drains its tasks and an RDS that takes snapshots."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest

from local_ecs.api import Api
from local_ecs.clock import SystemClock
from local_ecs.engine import Engine
from local_ecs.runtimes.virtual import VirtualRuntime
from local_ecs.testing import served
from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until
from standalone_init.writers.memory import remember
from standalone_init.writers.model import Memory, Service

from .fakes import REVISIONS, FakeAirflow

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient

Run = Callable[..., Finished]
Start = Callable[..., SidecarProcess]
pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True)
class Ecs:
    """Two services that write: ``scheduler`` with two tasks and ``workers`` with three."""

    client: ECSClient
    runtime: VirtualRuntime

    def counts(self) -> dict[str, tuple[int, int]]:
        """Desired and running, per service."""
        answer = self.client.describe_services(cluster="main", services=["scheduler", "workers"])
        return {one["serviceName"]: (one["desiredCount"], one["runningCount"]) for one in answer["services"]}

    def tags(self) -> dict[str, str]:
        answer = self.client.describe_services(cluster="main", services=["workers"], include=["TAGS"])
        return {tag["key"]: tag["value"] for tag in answer["services"][0].get("tags", [])}


AS_BEFORE = {"scheduler": (2, 2), "workers": (3, 3)}
STOPPED = {"scheduler": (0, 0), "workers": (0, 0)}


@pytest.fixture
def ecs(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecs]:
    del aws  # everything but ECS is there
    runtime = VirtualRuntime(stop_seconds=0.5)
    engine = Engine(runtime=runtime, clock=SystemClock(), dice=random.Random(7))  # noqa: S311 - addresses
    with served(Api(engine)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECS", url)
        client = boto3.Session().client("ecs")
        client.create_cluster(clusterName="main")
        for name, desired in (("scheduler", 2), ("workers", 3)):
            client.register_task_definition(
                family=name,
                requiresCompatibilities=["FARGATE"],
                networkMode="awsvpc",
                cpu="256",
                memory="512",
                containerDefinitions=[{"name": name, "image": "airflow", "stopTimeout": 120}],
            )
            client.create_service(
                cluster="main",
                serviceName=name,
                taskDefinition=name,
                desiredCount=desired,
                launchType="FARGATE",
            )
        found = Ecs(client, runtime)
        wait_until(lambda: found.counts() == AS_BEFORE, "the services to run")
        yield found
        client.close()


@pytest.fixture
def instance(aws: str) -> str:
    """An RDS instance."""
    del aws
    name = f"airflow-{uuid.uuid4().hex[:8]}"
    boto3.client("rds").create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.t4g.medium",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="airflow",
        MasterUserPassword="hunter2hunter2",
    )
    return name


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is to be upgraded."""

    airflow: FakeAirflow
    ecs: Ecs
    instance: str
    url: str
    settings: Mapping[str, str]

    def snapshots(self) -> list[str]:
        answer = boto3.client("rds").describe_db_snapshots(
            DBInstanceIdentifier=self.instance, SnapshotType="manual"
        )
        return [found["DBSnapshotIdentifier"] for found in answer["DBSnapshots"]]

    def last_run(self) -> dict[str, Any]:
        """The report in the newest run's row."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT report FROM airflow_ecs.init_run ORDER BY id DESC").fetchone()
        assert row is not None
        found: dict[str, Any] = row[0]
        return found


@pytest.fixture
def first_start(airflow: FakeAirflow, ecs: Ecs, instance: str, database: str) -> Deployment:
    """Services to stop and an instance to snapshot, and an empty database."""
    services = [{"cluster": "main", "service": name} for name in ("scheduler", "workers")]
    settings = {
        "STANDALONE_INIT_STOP_SERVICES": json.dumps(services),
        "STANDALONE_INIT_SNAPSHOT": f"rds:{instance}",
    }
    return Deployment(airflow, ecs, instance, database, settings)


@pytest.fixture
def behind(first_start: Deployment) -> Deployment:
    """A database three revisions behind, as an older Airflow has left it."""
    with psycopg.connect(first_start.url, autocommit=True) as connection:
        for table in ("dag", "dag_run", "task_instance", "connection", "job", "log", "variable", "xcom"):
            connection.execute(f"CREATE TABLE {table} (id int)".encode())
        connection.execute("CREATE TABLE slot_pool (pool text UNIQUE)")
        connection.execute(f"CREATE TABLE alembic_version AS SELECT '{REVISIONS[0]}' AS version_num".encode())
    return first_start


def test_an_upgrade_stops_the_writers_keeps_a_way_back_and_starts_them_as_they_were(
    start_sidecar: Start, behind: Deployment, settings: dict[str, str]
) -> None:
    bucket = f"reports-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    behind.airflow.behaves("hangs")
    report_to = {"STANDALONE_INIT_REPORT": f"s3://{bucket}/runs/last.json"}
    running = start_sidecar("standalone_init", "apply", settings={**settings, **behind.settings, **report_to})

    wait_until((behind.airflow.home / "hanging").exists, "the migration", deadline_seconds=60)
    assert behind.ecs.counts() == STOPPED
    (snapshot,) = behind.snapshots()
    assert snapshot.startswith(f"airflow-ecs-{behind.instance}-{REVISIONS[0]}-{REVISIONS[-1]}-")
    (behind.airflow.home / "release").touch()

    assert running.process.wait(60) == 0, running.text()
    wait_until(lambda: behind.ecs.counts() == AS_BEFORE, "the writers to run again")
    assert behind.ecs.tags() == {}
    body = boto3.client("s3").get_object(Bucket=bucket, Key="runs/last.json")["Body"].read()
    report = json.loads(body)
    assert report["snapshot"] == snapshot
    assert report["writers"] == [
        {"service": "main/scheduler", "desired": 2},
        {"service": "main/workers", "desired": 3},
    ]
    done = ["stop_writers", "take_snapshot", "migrate", "verify", "start_writers"]
    assert [phase["step"] for phase in report["done"]] == done
    row = behind.last_run()
    assert row == {**report, "finished": row["finished"]}


def test_kill_dash_nine_during_the_migration_loses_neither_counts_nor_snapshot(
    start_sidecar: Start, standalone_init: Run, behind: Deployment, settings: dict[str, str]
) -> None:
    behind.airflow.behaves("hangs")
    running = start_sidecar("standalone_init", "apply", settings={**settings, **behind.settings})
    wait_until((behind.airflow.home / "hanging").exists, "the migration", deadline_seconds=60)
    running.kill_dash_nine()
    assert behind.ecs.tags()["airflow-ecs:desired-count"] == "3"
    behind.airflow.behaves("works")
    (behind.airflow.home / "release").touch()

    done = standalone_init("apply", **behind.settings)

    assert done.code == 0, done.out
    wait_until(lambda: behind.ecs.counts() == AS_BEFORE, "the writers to run again")
    assert len(behind.snapshots()) == 1
    with psycopg.connect(behind.url) as connection:
        assert connection.execute("SELECT 1 FROM airflow_ecs.init_writer").fetchall() == []


def test_a_migration_that_changed_nothing_gives_the_writers_back(
    standalone_init: Run, behind: Deployment
) -> None:
    behind.airflow.behaves("fails")

    done = standalone_init("apply", **behind.settings)

    assert done.code == 70
    assert "The writers were started again as they were" in done.out
    wait_until(lambda: behind.ecs.counts() == AS_BEFORE, "the writers to run again")
    assert "The writers were started again" in behind.last_run()["error"]


def test_between_two_versions_the_writers_stay_stopped_until_the_next_run(
    standalone_init: Run, behind: Deployment
) -> None:
    behind.airflow.behaves("dies_at_1")

    failed = standalone_init("apply", **behind.settings)

    assert failed.code == 70
    assert "The writers stay stopped" in failed.out
    assert "standalone-init start-writers" in failed.out
    assert behind.ecs.counts() == STOPPED
    refused = standalone_init("start-writers", **behind.settings)
    assert refused.code == 2
    assert "The writers cannot work with this database" in refused.out + refused.err
    assert behind.ecs.counts() == STOPPED

    behind.airflow.behaves("works")
    assert standalone_init("apply", **behind.settings).code == 0
    wait_until(lambda: behind.ecs.counts() == AS_BEFORE, "the writers to run again")
    assert len(behind.snapshots()) == 1


def test_writers_that_do_not_end_are_named_and_given_back(standalone_init: Run, behind: Deployment) -> None:
    behind.ecs.runtime.stop_seconds = 60

    done = standalone_init("apply", **behind.settings, STANDALONE_INIT_DRAIN_TIMEOUT_SECONDS="1")

    assert done.code == 75
    assert "The writers did not end within 1 s" in done.out
    assert done.out.count("main/workers task ") >= 3
    assert {name: desired for name, (desired, _) in behind.ecs.counts().items()} == {
        "scheduler": 2,
        "workers": 3,
    }
    assert behind.snapshots() == []
    assert behind.airflow.calls == []


def test_a_snapshot_that_is_refused_gives_the_writers_back_and_migrates_nothing(
    standalone_init: Run, behind: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_RDS_SNAPSHOT_LIMIT", "0")  # moto's own, in this process

    done = standalone_init("apply", **behind.settings)

    assert done.code == 73, done.out
    assert "SnapshotQuotaExceeded" in done.out
    wait_until(lambda: behind.ecs.counts() == AS_BEFORE, "the writers to run again")
    assert behind.airflow.calls == []


def test_an_instance_that_is_not_there_is_said_before_anything_is_touched(
    standalone_init: Run, behind: Deployment
) -> None:
    done = standalone_init("apply", **{**behind.settings, "STANDALONE_INIT_SNAPSHOT": "rds:absent"})

    assert done.code == 2, done.out
    assert "no_impact_until_here" not in done.out
    assert behind.ecs.counts() == AS_BEFORE
    assert behind.ecs.tags() == {}
    assert behind.airflow.calls == []
    with psycopg.connect(behind.url) as connection:
        assert connection.execute("SELECT to_regnamespace('airflow_ecs')").fetchone() == (None,)


def test_a_first_start_and_a_rerun_stop_nobody(standalone_init: Run, first_start: Deployment) -> None:
    for expected in ("migrate the database", "nothing_to_do"):
        done = standalone_init("apply", **first_start.settings)

        assert done.code == 0, done.out
        assert expected in done.out
        assert "writer_stopped" not in done.out
    assert first_start.ecs.counts() == AS_BEFORE
    assert first_start.snapshots() == []


def test_start_writers_gives_back_what_a_killed_run_left_stopped(
    standalone_init: Run, behind: Deployment
) -> None:
    workers = Service(cluster="main", service="workers")
    memory = Memory(service=workers, desired=3, position=f"alembic_version={REVISIONS[0]}")
    with psycopg.connect(behind.url, autocommit=True) as connection:
        remember(connection, memory)
    behind.ecs.client.update_service(cluster="main", service="workers", desiredCount=0)

    done = standalone_init("start-writers", **behind.settings)

    assert done.code == 0, done.err
    assert "started main/workers to 3" in done.out
    wait_until(lambda: behind.ecs.counts() == AS_BEFORE, "the writers to run again")
    assert "nothing" in standalone_init("start-writers", **behind.settings).out
