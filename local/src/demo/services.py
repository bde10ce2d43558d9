"""The architecture as data: what runs as which ECS service, with which command and variables."""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from demo.layout import Layout

CLUSTER = "airflow"
QUEUE = "default"
STREAM = "airflow-logs"
LOG_BUCKET = "airflow-logs"
DAG_BUCKET = "airflow-dags"
DATABASE_SECRET = "airflow/database"  # noqa: S105 - the secret's name
ADMIN = "admin"
TASKS_PER_WORKER = 2
MAX_WORKERS = 3
WORKER_AGENT_PORT = 9465  # docs/adr/0004
SIDECARS = ("worker-scaler", "dags-agent", "log-forwarder")
AIRFLOW_SERVICES = ("api-server", "scheduler", "dag-processor")
WORKERS = "worker"
INIT = "standalone-init"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the machinery of this run listens, and the secrets made for it."""

    aws: str
    ecs: str
    database: str
    queue: str
    api_port: int
    fernet_key: str = field(default_factory=lambda: urlsafe_b64encode(secrets.token_bytes(32)).decode())
    jwt_secret: str = field(default_factory=lambda: secrets.token_urlsafe(64))
    api_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def api(self) -> str:
        """Airflow's REST and execution API."""
        return f"http://127.0.0.1:{self.api_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One container as ECS starts it."""

    name: str
    command: list[str]
    environment: dict[str, str]
    desired: int = 1
    stop_timeout_seconds: int = 30


def aws_environment(at: Addresses) -> dict[str, str]:
    """Return what points an unmodified AWS SDK at the local cloud."""
    return {
        "AWS_ENDPOINT_URL": at.aws,
        "AWS_ENDPOINT_URL_ECS": at.ecs,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def airflow_environment(layout: Layout, at: Addresses) -> dict[str, str]:
    """Return Airflow's configuration, the same for all of its components."""
    sqlalchemy = at.database.replace("postgresql://", "postgresql+psycopg2://", 1)
    return {
        **aws_environment(at),
        "HOME": str(layout.home),
        "AIRFLOW_HOME": str(layout.home / "airflow-home"),
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(layout.dags / "current"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__FERNET_KEY": at.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{at.api}/execution/",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow_ecs.hostname.get_task_ip",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(layout.passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sqlalchemy,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(at.api_port),
        "AIRFLOW__API__BASE_URL": at.api,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": at.api_secret,
        "AIRFLOW__API_AUTH__JWT_SECRET": at.jwt_secret,
        "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "airflow_ecs.celery_sqs.CELERY_CONFIG",
        "AIRFLOW_ECS_SQS_QUEUES": json.dumps({QUEUE: at.queue}),
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{sqlalchemy}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(TASKS_PER_WORKER),
        # 1 s by default: too short for the first publish on a busy machine with two cores
        "AIRFLOW__CELERY__OPERATION_TIMEOUT": "30.0",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__WAIT_TIME_SECONDS": "2",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "43200",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(layout.airflow_logs),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            layout.airflow_logs / "dag_processor"
        ),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        # without it a task's supervisor often notices the end of the task five seconds late
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


def airflow_services(layout: Layout, at: Addresses) -> list[Service]:
    """Return Airflow's always-on components and the worker fleet, which starts at zero."""
    environment = airflow_environment(layout, at)
    airflow = str(layout.airflow)
    commands = {name: [airflow, name] for name in AIRFLOW_SERVICES}
    workers = [airflow, "celery", "worker", "--queues", QUEUE, "--skip-serve-logs", "--without-gossip"]
    return [
        *(Service(name=name, command=command, environment=environment) for name, command in commands.items()),
        Service(
            name=WORKERS,
            command=[*workers, "--without-mingle"],
            environment=environment,
            desired=0,
            stop_timeout_seconds=120,  # the most that Fargate allows
        ),
    ]


def sidecar_services(layout: Layout, at: Addresses) -> list[Service]:
    """Return the three sidecars that run beside Airflow."""
    fleet = {
        "name": "workers",
        "cluster": CLUSTER,
        "service": WORKERS,
        "queues": [QUEUE],
        "tasks_per_worker": TASKS_PER_WORKER,
        "min_workers": 0,
        "max_workers": MAX_WORKERS,
        "scale_in_window_seconds": 5,
        "agent_port": WORKER_AGENT_PORT,
    }
    shipped = [*AIRFLOW_SERVICES, WORKERS, INIT, "worker-scaler", "dags-agent"]
    own = {
        "worker-scaler": {
            "WORKER_SCALER_DATABASE_SECRET_ID": DATABASE_SECRET,
            "WORKER_SCALER_FLEETS": json.dumps([fleet]),
            "WORKER_SCALER_INTERVAL_SECONDS": "1",
            "WORKER_SCALER_MINIMUM_WORKER_AGE_SECONDS": "10",
        },
        "dags-agent": {
            "DAGS_AGENT_SOURCE": f"s3://{DAG_BUCKET}/dags/",
            "DAGS_AGENT_TARGET": str(layout.dags),
            "DAGS_AGENT_INTERVAL_SECONDS": "2",
            "DAGS_AGENT_VALIDATE": "compile",
        },
        "log-forwarder": {
            "LOG_FORWARDER_STREAM": STREAM,
            # its own stdout is not among them: a forwarder must not feed itself
            "LOG_FORWARDER_TAIL": json.dumps(
                [
                    *(str(layout.container_logs / name / "*.log") for name in shipped),
                    str(layout.airflow_logs / "**" / "*.log"),
                ]
            ),
            "LOG_FORWARDER_STATE_DIR": str(layout.home / "state" / "log-forwarder"),
            "LOG_FORWARDER_FLUSH_SECONDS": "2",
        },
    }
    return [
        Service(
            name=name,
            command=[str(layout.sidecar(name))],
            environment={
                **aws_environment(at),
                **own[name],
                f"{name.upper().replace('-', '_')}_HTTP_PORT": "0",
            },
        )
        for name in SIDECARS
    ]


def init_task(layout: Layout, at: Addresses) -> Service:
    """Return standalone_init as the one-off task it is."""
    environment = airflow_environment(layout, at)
    del environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]  # it reads the secret, and hands it on itself
    files = layout.home / "state" / "files.toml"
    files.write_text(f'[[directories]]\npath = "{layout.airflow_logs / "dag_processor"}"\nmode = "0775"\n')
    return Service(
        name=INIT,
        command=[str(layout.sidecar(INIT))],
        environment={
            **environment,
            "STANDALONE_INIT_DATABASE_SECRET_ID": DATABASE_SECRET,
            "STANDALONE_INIT_AIRFLOW_COMMAND": str(layout.airflow),
            "STANDALONE_INIT_ADMIN_USERNAME": ADMIN,
            "STANDALONE_INIT_FILES_FILE": str(files),
            "STANDALONE_INIT_REPORT": str(layout.home / "state" / "init-report.json"),
        },
        desired=0,
    )
