"""Real Celery workers in Airflow's own python, on the local cloud's SQS, writing down each run of a task."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import boto3
import psycopg
from botocore.config import Config

from local_cloud.testing import LocalCloud
from sidecar.testing.waiting import wait_until

AIRFLOW_PYTHON = Path(__file__).parents[2] / ".airflow" / "bin" / "python"
PROGRAMS = Path(__file__).parent / "programs"
VISIBILITY_SECONDS = 20
_RUNS = """create table runs (id bigserial primary key, number int, worker text, pid int,
           began timestamptz default clock_timestamp(), ended timestamptz)"""


class Worker:
    """One worker process, a context manager; ``stock`` is one without airflow_ecs."""

    def __init__(
        self,
        stage: Stage,
        *queues: str,
        concurrency: int = 2,
        stock: bool = False,
        wait_seconds: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = uuid.uuid4().hex[:8]
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.is_stock = stock
        self.log = stage.directory / f"{self.name}.log"
        self.heartbeat_file = stage.directory / f"{self.name}.beat"
        command = [str(AIRFLOW_PYTHON), "-m", "celery", "-A", "plain_worker", "worker", "-O", "fair"]
        command += ["--queues", ",".join(queues), "--concurrency", str(concurrency), "--loglevel", "info"]
        command += ["--without-gossip", "--without-mingle"]
        own = {
            "NAME": self.name,
            "WAIT_SECONDS": str(wait_seconds),
            "AIRFLOW_ECS_WORKER_AGENT_HOST": "127.0.0.1",
            "AIRFLOW_ECS_WORKER_AGENT_PORT": str(self.port),
            "AIRFLOW_ECS_WORKER_AGENT_HEARTBEAT_FILE": str(self.heartbeat_file),
        }
        if stock:
            own["STOCK"] = "1"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env={**stage.environment, **own, **(environment or {})},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=stage.directory,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self) -> Self:
        """Wait until it takes messages."""
        wait_until(
            lambda: "ready." in self.text() or self.process.poll() is not None,
            "a worker",
            deadline_seconds=120,
        )
        assert self.process.poll() is None, self.text()
        if not self.is_stock:
            wait_until(self._answers, "its agent", deadline_seconds=120)
        return self

    def _answers(self) -> bool:
        try:
            return request("GET", f"{self.url}/v1/worker")[0] == 200
        except OSError:
            return False

    def state(self) -> dict[str, Any]:
        """Ask it, as worker_scaler does."""
        status, answer = request("GET", f"{self.url}/v1/worker")
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def order(self, order: str, *, expires_seconds: float = 120, holder: str = "test") -> dict[str, Any]:
        """Give it an order; returns its state."""
        document = {"order": order, "expires_seconds": expires_seconds, "holder": holder}
        status, answer = request("PUT", f"{self.url}/v1/order", document)
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def phase(self, wanted: str) -> None:
        """Wait for a phase."""
        wait_until(lambda: self.state()["phase"] == wanted, f"phase {wanted}", deadline_seconds=120)

    def terminate(self) -> None:
        """SIGTERM to the main process alone, as ECS does."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL everything of it, as ECS does at the stop timeout."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        return self.process.wait(90)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self.process.wait(30)


class Stage:
    """Queues of one test on the shared cloud, and the table of runs."""

    def __init__(self, cloud: LocalCloud, database: str, directory: Path) -> None:
        self.directory = directory
        self.cloud = cloud
        self.database = database
        config = Config(retries={"total_max_attempts": 3}, connect_timeout=5, read_timeout=30)
        self.sqs = boto3.client(
            "sqs",
            endpoint_url=cloud.url,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=config,
        )
        self.queues: dict[str, str] = {}
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(_RUNS)

    def queue(self, *names: str) -> None:
        """Make queues that Celery knows under these names."""
        for name in names:
            self.queues[name] = self.sqs.create_queue(
                QueueName=f"{name}-{uuid.uuid4().hex}",
                Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)},
            )["QueueUrl"]

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this stage gets."""
        return {
            "PATH": os.defpath,
            "HOME": str(self.directory),
            "PYTHONPATH": str(PROGRAMS),
            "AWS_ENDPOINT_URL": self.cloud.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AIRFLOW_ECS_SQS_QUEUES": json.dumps(self.queues),
            "RUNS": self.database,
        }

    def send(self, *tasks: tuple[int, float, str]) -> None:
        """Publish tasks (number, seconds, queue) through Celery, as Airflow's scheduler does."""
        code = "import json, sys, plain_worker\nfor n, s, q in json.load(sys.stdin):\n"
        code += "    plain_worker.work.apply_async((n, s), queue=q)"
        subprocess.run(
            [AIRFLOW_PYTHON, "-c", code],
            env=self.environment, check=True, input=json.dumps(tasks), text=True, timeout=100,
            cwd=self.directory,
        )  # fmt: skip

    def prepared(self, number: int, seconds: float, queue: str) -> str:
        """Return the body of a task's message, to be sent at the right moment with :meth:`put`."""
        self.send((number, seconds, queue))
        found = self.sqs.receive_message(QueueUrl=self.queues[queue], WaitTimeSeconds=5)["Messages"][0]
        self.sqs.delete_message(QueueUrl=self.queues[queue], ReceiptHandle=found["ReceiptHandle"])
        return str(found["Body"])

    def put(self, queue: str, body: str) -> None:
        """Send a message as it is."""
        self.sqs.send_message(QueueUrl=self.queues[queue], MessageBody=body)

    def counts(self, queue: str) -> tuple[int, int]:
        """Return how many messages are visible and in flight."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queues[queue], AttributeNames=["All"])
        found = answer["Attributes"]
        visible, hidden = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
        return int(found[visible]), int(found[hidden])  # type: ignore[index]  # literal names

    def runs(self) -> Counter[int]:
        """How often each task began."""
        return Counter(row[0] for row in self.rows("select number from runs"))

    def ended(self) -> set[int]:
        """Which tasks ended."""
        return {row[0] for row in self.rows("select number from runs where ended is not null")}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the table of runs."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()


def request(
    method: str, url: str, document: object = None, *, token: str = "", body: bytes | None = None
) -> tuple[int, object]:
    """Send a request; returns the status, and the answer as JSON where it is JSON."""
    data = body if body is not None else None if document is None else json.dumps(document).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    made = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310  # loopback
    try:
        with urllib.request.urlopen(made, timeout=10) as answer:  # noqa: S310  # loopback
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as err:
        with err:
            status, text = err.code, err.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
