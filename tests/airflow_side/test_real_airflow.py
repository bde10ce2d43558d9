"""Real Airflow 3.3 with ``airflow_ecs.celery_sqs``: workers under local_ecs, cordoned and ended midway."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from demo.children import Program
from sidecar.testing.waiting import wait_until

from .workers import AIRFLOW_PYTHON, PROGRAMS, Stage, request

AIRFLOW = AIRFLOW_PYTHON.with_name("airflow")
TASKS = 12

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not AIRFLOW.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]


class Airflow:
    """Airflow's components as processes, and its workers as an ECS service."""

    def __init__(self, stage: Stage, database: str, ecs_url: str, stack: ExitStack) -> None:
        self.home = stage.directory
        self.database = database
        self.ecs_url = ecs_url
        self.notes = self.home / "notes"
        self.notes.touch()
        self.environment = self._environment(stage)
        self._stack = stack
        self.ecs = boto3.client(
            "ecs",
            endpoint_url=ecs_url,
            region_name="eu-west-1",
            aws_access_key_id="t",
            aws_secret_access_key="t",
        )
        stack.callback(self.ecs.close)

    def _environment(self, stage: Stage) -> dict[str, str]:
        dags = self.home / "dags"
        dags.mkdir()
        (dags / "fan_out.py").write_bytes((PROGRAMS / "fan_out.py").read_bytes())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.api = f"http://127.0.0.1:{probe.getsockname()[1]}"
        sqlalchemy = self.database.replace("postgresql://", "postgresql+psycopg2://", 1)
        return {
            **stage.environment,
            "PATH": f"{AIRFLOW.parent}:{os.defpath}",
            "NOTES": str(self.notes),
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW_ECS_WORKER_AGENT_HEARTBEAT_FILE": str(self.home / "beat"),
            "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "airflow_ecs.celery_sqs.CELERY_CONFIG",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{sqlalchemy}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            "AIRFLOW__CELERY__OPERATION_TIMEOUT": "30.0",
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__WAIT_TIME_SECONDS": "2",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.api}/execution/",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow_ecs.hostname.get_task_ip",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sqlalchemy,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.api.rpartition(":")[2],
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=200,
            cwd=self.home,
        )

    def start(self) -> None:
        migrated = self.command(str(AIRFLOW), "db", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        for component in ("api-server", "scheduler", "dag-processor"):
            log = self._stack.enter_context((self.home / f"{component}.log").open("wb"))
            process = subprocess.Popen(
                [AIRFLOW, component],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.home,
            )
            self._stack.callback(_end, process)
        wait_until(self._is_up, "the execution API", deadline_seconds=180)
        wait_until(lambda: self.rows("select 1 from serialized_dag"), "the DAG", deadline_seconds=180)

    def _is_up(self) -> bool:
        try:
            return request("GET", f"{self.api}/execution/health")[0] == 200
        except OSError:
            return False

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def start_workers(self, count: int) -> list[dict[str, Any]]:
        """Start an ECS service of workers; return its tasks once their agents answer."""
        command = [str(AIRFLOW), "celery", "worker", "--queues", "default,heavy", "--skip-serve-logs"]
        self.ecs.create_cluster(clusterName="airflow")
        self.ecs.register_task_definition(
            family="worker",
            networkMode="awsvpc",
            containerDefinitions=[
                {
                    "name": "worker",
                    "image": "airflow",
                    "command": command,
                    "stopTimeout": 120,
                    "environment": [
                        {"name": name, "value": value} for name, value in self.environment.items()
                    ],
                }
            ],
        )
        self.ecs.create_service(
            cluster="airflow", serviceName="worker", taskDefinition="worker", desiredCount=count
        )
        wait_until(lambda: len(self.answering()) == count, "the workers", deadline_seconds=180)
        return self.answering()

    def answering(self) -> list[dict[str, Any]]:
        found = []
        for task in self.tasks():
            try:
                status, state = request("GET", f"http://{task['address']}:9465/v1/worker")
            except OSError:
                continue
            if status == 200 and isinstance(state, dict):
                found.append({**task, "state": state})
        return found

    def tasks(self) -> list[dict[str, Any]]:
        listed = request("GET", f"{self.ecs_url}/_local/tasks")[1]
        assert isinstance(listed, list)
        return [task for task in listed if task["lastStatus"] == "RUNNING"]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.fixture
def airflow(stage: Stage, postgres: Any, tmp_path: Path) -> Iterator[Airflow]:
    name = f"airflow_{secrets.token_hex(6)}"
    postgres.create_database(name)
    options = [
        "--runtime",
        "process",
        "--log-dir",
        str(tmp_path / "ecs-logs"),
        "--state-dir",
        str(tmp_path / "ecs"),
    ]
    with ExitStack() as stack:
        stack.callback(postgres.drop_database, name)
        ecs = stack.enter_context(
            Program("local_ecs", *options, log=tmp_path / "local_ecs.log", environment={})
        )
        yield Airflow(stage, postgres.url(name), ecs.url(), stack)


def test_tasks_run_once_while_their_workers_are_cordoned_and_ended(airflow: Airflow, stage: Stage) -> None:
    airflow.start()
    workers = airflow.start_workers(2)
    assert {worker["state"]["hostname"] for worker in workers} == {worker["address"] for worker in workers}
    assert {worker["state"]["task_arn"] for worker in workers} == {worker["taskArn"] for worker in workers}
    triggered = airflow.command(str(AIRFLOW), "dags", "trigger", "fan_out")
    assert triggered.returncode == 0, triggered.stderr

    wait_until(lambda: len(airflow.notes.read_text().split()) >= 2, "tasks to begin", deadline_seconds=180)
    busy = {host for (host,) in airflow.rows("select hostname from task_instance where state = 'running'")}
    protected = {task["address"] for task in airflow.tasks() if task["protectedUntil"]}
    assert busy, "tasks were to be running"
    assert busy <= protected, "every worker that Airflow knows as busy is protected"

    leaving, staying = workers
    order = {"order": "cordon", "expires_seconds": 300, "holder": "test"}
    agent = f"http://{leaving['address']}:9465"
    assert request("PUT", f"{agent}/v1/order", order)[0] == 200

    def is_quiet() -> bool:
        state = request("GET", f"{agent}/v1/worker")[1]
        return isinstance(state, dict) and state["phase"] == "quiet"

    wait_until(is_quiet, "the cordoned worker to be quiet", deadline_seconds=120)
    # as worker_scaler does: the protection off, then the desired count down by one
    airflow.ecs.update_task_protection(cluster="airflow", tasks=[leaving["taskArn"]], protectionEnabled=False)
    airflow.ecs.update_task_protection(
        cluster="airflow", tasks=[staying["taskArn"]], protectionEnabled=True, expiresInMinutes=60
    )
    airflow.ecs.update_service(cluster="airflow", service="worker", desiredCount=1)
    finished = "select 1 from dag_run where state in ('success', 'failed')"
    wait_until(lambda: airflow.rows(finished), "the DAG run", deadline_seconds=300)
    assert airflow.rows("select state from dag_run") == [("success",)]
    assert airflow.rows("select distinct try_number from task_instance") == [(1,)]
    assert Counter(airflow.notes.read_text().split()) == {str(number): 1 for number in range(TASKS)}
    assert [task["taskArn"] for task in airflow.tasks()] == [staying["taskArn"]]
    wait_until(
        lambda: [stage.counts(queue) for queue in ("default", "heavy")] == [(0, 0), (0, 0)], "empty queues"
    )

    done = airflow.command(str(AIRFLOW_PYTHON), "-m", "airflow_ecs.cli", "doctor", "sqs", "--no-probe")
    assert "ok      queues of DAGs" in done.stdout, done.stdout + done.stderr
    assert "VisibilityTimeout is 20 s" in done.stdout
    airflow.environment["AIRFLOW_ECS_SQS_QUEUES"] = json.dumps({"default": stage.queues["default"]})
    done = airflow.command(str(AIRFLOW_PYTHON), "-m", "airflow_ecs.cli", "doctor", "sqs", "--no-probe")
    assert done.returncode == 1
    assert "tasks use 'heavy', which Celery does not know" in done.stdout
