"""Start and end the machinery: PostgreSQL, the AWS of the local cloud, its ECS, and what IaC would make."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psycopg
from botocore.config import Config

from demo.children import Program
from demo.ecs import Ecs
from demo.layout import Layout
from demo.services import CLUSTER, DAG_BUCKET, DATABASE_SECRET, LOG_BUCKET, QUEUE, STREAM, Addresses
from demo.timeline import Timeline
from local_cloud.postgres import Postgres

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

DATABASE = "airflow"
_REGION = "eu-west-1"
_VISIBILITY_SECONDS = 43_200  # the most SQS allows; Airflow's own recovery is its heartbeat, not redelivery
_WORKER_START_SECONDS = 1.0  # what ECS needs before the container runs; a worker then boots for real


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The running machinery."""

    layout: Layout
    at: Addresses
    ecs: Ecs
    s3: S3Client

    def upload(self, files: dict[str, bytes]) -> None:
        """Make the DAG prefix hold exactly these files, as a deployment would."""
        listing = self.s3.list_objects_v2(Bucket=DAG_BUCKET, Prefix="dags/").get("Contents", [])
        for name, data in files.items():
            self.s3.put_object(Bucket=DAG_BUCKET, Key=f"dags/{name}", Body=data)
        for entry in listing:
            if entry["Key"].removeprefix("dags/") not in files:
                self.s3.delete_object(Bucket=DAG_BUCKET, Key=entry["Key"])

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """Ask Airflow's database."""
        with psycopg.connect(self.at.database, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()


@contextmanager
def raised(layout: Layout, timeline: Timeline) -> Iterator[Stage]:
    """Start everything, yield it, end everything; also when the demo fails or is interrupted."""
    with ExitStack() as stack:
        timeline.waiting_for("starting PostgreSQL and the local cloud")
        stack.enter_context(layout.claimed())
        layout.prepare()
        credentials = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": _REGION,
        }
        logs = layout.home / "logs"
        state = layout.home / "state" / "ecs"
        cloud = stack.enter_context(
            Program("local_cloud", log=logs / "local_cloud.log", environment=credentials)
        )
        ecs = stack.enter_context(
            Program(
                "local_ecs",
                *("--runtime", "process", "--log-dir", str(layout.container_logs), "--state-dir", str(state)),
                *("--start-delay-seconds", str(_WORKER_START_SECONDS)),
                log=logs / "local_ecs.log",
                environment={},
            )
        )
        postgres = stack.enter_context(Postgres(data_dir=layout.home / "postgres"))
        postgres.drop_database(DATABASE)
        postgres.create_database(DATABASE)
        stage = _provision(layout, cloud.url(), ecs.url(), postgres.url(DATABASE))
        timeline.arrived()
        timeline.say("demo", f"PostgreSQL, AWS ({stage.at.aws}) and ECS ({stage.at.ecs}) are up")
        yield stage


def _provision(layout: Layout, aws: str, ecs: str, database: str) -> Stage:
    """Make what infrastructure code makes in a real account: buckets, queue, stream, secret, cluster."""
    config = Config(connect_timeout=3, read_timeout=30, retries={"total_max_attempts": 3})
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=_REGION)  # noqa: S106 - the local cloud takes any
    s3 = session.client("s3", endpoint_url=aws, config=config)
    for bucket in (DAG_BUCKET, LOG_BUCKET):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    key = session.client("kms", endpoint_url=aws, config=config).create_key(Description="log bucket")
    session.client("firehose", endpoint_url=aws, config=config).create_delivery_stream(
        DeliveryStreamName=STREAM,
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{LOG_BUCKET}",
            "Prefix": "logs/!{timestamp:yyyy/MM/dd/HH}/",
            "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
            "EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": key["KeyMetadata"]["Arn"]}},
        },
    )
    queue = session.client("sqs", endpoint_url=aws, config=config).create_queue(
        QueueName=f"airflow-{QUEUE}", Attributes={"VisibilityTimeout": str(_VISIBILITY_SECONDS)}
    )["QueueUrl"]
    session.client("secretsmanager", endpoint_url=aws, config=config).create_secret(
        Name=DATABASE_SECRET, SecretString=_as_rds_secret(database)
    )
    at = Addresses(aws=aws, ecs=ecs, database=database, queue=queue, api_port=_free_port())
    cluster = Ecs(at, session)
    cluster.client.create_cluster(clusterName=CLUSTER)
    return Stage(layout=layout, at=at, ecs=cluster, s3=s3)


def _as_rds_secret(url: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return json.dumps(
        {
            "username": parts["user"],
            "password": parts["password"],
            "host": parts["host"],
            "port": int(str(parts["port"])),
            "dbname": parts["dbname"],
        }
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dag_files(*, release: int) -> dict[str, bytes]:
    """Return the DAG files of a release: the second one changes the shared helper and drops a DAG."""
    root = Path(__file__).parent / "dags"
    files = {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*.py"))}
    helper = "shop/steps.py"
    files[helper] = files[helper].replace(b"RELEASE = 1", f"RELEASE = {release}".encode())
    if release > 1:
        del files["retired.py"]
    return files
