"""Fixtures of the scaler's tests: an ECS on loopback for unmodified boto3, and Airflow's table."""

from __future__ import annotations

import json
import random
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest

from local_ecs.api import Api
from local_ecs.clock import SystemClock
from local_ecs.engine import Engine
from local_ecs.runtimes.virtual import VirtualRuntime
from local_ecs.testing import served
from worker_scaler.model import Fleet

from .fakes import fleet as a_fleet

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient

# The columns this service reads, and their neighbours in the same index, as Airflow 3.3 creates them.
_TASK_INSTANCE = """
CREATE TABLE task_instance (
  id uuid NOT NULL PRIMARY KEY,
  dag_id varchar(250) NOT NULL,
  task_id varchar(250) NOT NULL,
  run_id varchar(250) NOT NULL,
  map_index integer NOT NULL DEFAULT -1,
  state varchar(20),
  try_number integer,
  hostname varchar(1000),
  pool varchar(256) NOT NULL DEFAULT 'default_pool',
  pool_slots integer NOT NULL DEFAULT 1,
  queue varchar(256),
  queued_dttm timestamp with time zone,
  last_heartbeat_at timestamp with time zone,
  pid integer,
  executor varchar(1000),
  external_executor_id text
);
CREATE INDEX ti_state ON task_instance (state);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowDatabase:
    """A database with Airflow's ``task_instance`` table, and a way to put rows into it."""

    url: str

    def add(
        self, state: str | None, *, queue: str = "heavy", hostname: str | None = "", **columns: Any
    ) -> None:
        """Insert one task instance."""
        row = {
            "id": uuid.uuid4(),
            "dag_id": "d",
            "task_id": "t",
            "run_id": "r",
            "state": state,
            "queue": queue,
            "hostname": hostname,
            **columns,
        }
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        self.run(
            f"INSERT INTO task_instance ({names}) VALUES ({marks})",  # noqa: S608 - names from this file only
            *row.values(),
        )

    def run(self, statement: str, *values: object) -> None:
        """Execute one statement as superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode(), values or None)


@pytest.fixture
def airflow_database(database: str) -> AirflowDatabase:
    airflow = AirflowDatabase(url=database)
    airflow.run(_TASK_INSTANCE)
    return airflow


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEcs:
    """An ECS over HTTP whose containers are simulated and whose time is the machine's."""

    url: str
    client: ECSClient
    cluster: str = "main"
    _made: list[str] = field(default_factory=list)

    def service(self, desired: int = 0, *, stop_timeout_seconds: int = 2) -> Fleet:
        """Create a service of workers; return a fleet that steers it."""
        name = f"workers-{uuid.uuid4().hex[:8]}"
        self.client.register_task_definition(
            family=name,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[
                {
                    "name": "worker",
                    "image": "airflow",
                    "stopTimeout": stop_timeout_seconds,
                    "environment": [
                        {"name": "DUMB_INIT_SETSID", "value": "0"},
                        {"name": "AIRFLOW__CELERY__WORKER_CONCURRENCY", "value": "2"},
                    ],
                }
            ],
        )
        self.client.create_service(
            cluster=self.cluster,
            serviceName=name,
            taskDefinition=name,
            desiredCount=desired,
            launchType="FARGATE",
        )
        self._made.append(name)
        return a_fleet(cluster=self.cluster, service=name)

    def fault(self, **fault: Any) -> None:
        """Put one fault in force."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/_local/faults", data=json.dumps(fault).encode(), method="POST"
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - loopback


@pytest.fixture
def local_ecs(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[LocalEcs]:
    """A fresh ECS with one cluster; every AWS SDK in this process, and in its children, uses it for ECS."""
    engine = Engine(runtime=VirtualRuntime(), clock=SystemClock(), dice=random.Random(7))  # noqa: S311
    with served(Api(engine)) as url:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_ECS": url,
        }.items():
            monkeypatch.setenv(name, value)
        if "aws" not in request.fixturenames:
            # It refuses what it does not know: nobody leaves the machine.
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        client = boto3.Session().client("ecs")
        client.create_cluster(clusterName="main")
        yield LocalEcs(url=url, client=client)
        client.close()
