"""What the scaler can be told."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from sidecar.settings import FromJson, SidecarSettings
from worker_scaler.executors import Executors
from worker_scaler.fleet_settings import FleetSettings
from worker_scaler.model import Fleet
from worker_scaler.sources.facts import Meaning

_PROTECTION_MINUTES_MAX = 2880
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateTaskProtection.html"""


class WorkerScalerSettings(SidecarSettings):
    """The settings of ``worker-scaler``; each field is the variable ``WORKER_SCALER_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="WORKER_SCALER_")

    fleets: Annotated[tuple[FleetSettings, ...], FromJson] = Field(
        min_length=1,
        description=(
            "JSON list of the services to steer: `name`, `cluster`, `service`, `policy` (`queue`, `floor` or "
            "`schedule`), `queues`, `tasks_per_worker` (16), `min_workers` (0), `max_workers`, "
            "`scale_in_window_seconds` (60), `sqs_queue_urls` (queue to URL), `agent_port` (none; 9465 with "
            "worker agents), `pack` (true), `pack_headroom_tasks` (0), `max_step_out`, "
            "`max_step_in`, `foresee` (what is predicted from history: `prescale`, `lead_quantile`, `order`, "
            "`drain_seconds`, `prescale_drain_seconds`; null predicts nothing), "
            "`start_timeout_seconds` (600), `freezes` (list of `cron`, `time_zone`, "
            "`minutes`, `what`: `scale_in` or `all`), `hours` (list of `days`, `from`, `to`, `time_zone`, "
            "`workers`, `holidays`, `closed_on`; policy `schedule`)"
        ),
    )
    source: Literal["database", "rest", "command"] = Field(
        default="database", description="Where the queue depth is read; only `database` works yet"
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Airflow's database, SQLAlchemy-style: `postgresql://user:password@host/airflow`",
    )
    database_secret_id: str | None = Field(
        default=None, description="Secrets Manager secret that holds that URL, or an RDS secret's JSON"
    )
    api_url: str | None = Field(default=None, description="For source `rest`; refused yet")
    api_username: str | None = Field(default=None, description="For source `rest`; refused yet")
    api_password: SecretStr | None = Field(default=None, description="For source `rest`; refused yet")
    api_password_secret_id: str | None = Field(default=None, description="For source `rest`; refused yet")
    command: str | None = Field(default=None, description="For source `command`; refused yet")
    interval_seconds: float = Field(default=10.0, gt=0, description="From the start of one tick to the next")
    dry_run: bool = Field(default=False, description="Decide and tell, change nothing")
    agent_token: SecretStr | None = Field(
        default=None, description="What the agents in the workers ask for (`AIRFLOW_ECS_WORKER_AGENT_TOKEN`)"
    )
    agent_token_secret_id: str | None = Field(
        default=None, description="Secrets Manager secret that holds it"
    )
    paused: bool = Field(default=False, description="Change nothing; only keep workers protected")
    pause_file: Path | None = Field(
        default=None,
        description="While this file exists the fleets that it names, one a line, are paused; all when it is "
        "empty",
    )
    statement_timeout_seconds: float = Field(
        default=2.0, gt=0, description="The database ends the one statement of a tick after this time"
    )
    database_iam_auth: bool = Field(
        default=False,
        description="Log in to the database with a token of the task role (RDS IAM authentication), not a "
        "password; TLS is used then",
    )
    lock: Literal["auto", "database", "dynamodb", "none"] = Field(
        default="auto",
        description="What makes one writer of several copies: advisory locks in the database, or an item in "
        "LOCK_TABLE. `auto`: the table when one is given, else the database, else none",
    )
    lock_table: str | None = Field(
        default=None, description="DynamoDB table of the lease; its partition key is the string `name`"
    )
    lock_name: str = Field(
        default="worker-scaler",
        min_length=1,
        description="The lease's name in LOCK_TABLE; the same for all copies of one scaler",
    )
    history_days: int = Field(
        default=7, ge=0, description="How many days of task history predictions rest on; 0 reads none"
    )
    executors: Annotated[tuple[str, ...], FromJson] = Field(
        default=(),
        description="JSON list of the executors that run on Celery workers, as DAGs name them (aliases too), "
        "`default` for tasks that name none. Empty: all but those known to be others (Local, Kubernetes, …)",
    )
    default_queue: str = Field(
        default="default",
        min_length=1,
        description="Airflow's `[operators] default_queue`: where callbacks and connection tests go",
    )
    airflow_parallelism: int | None = Field(
        default=None,
        gt=0,
        description="Airflow's `[core] parallelism`, per scheduler; lets the limit that binds be named",
    )
    count_admissible: bool = Field(
        default=False,
        description="Also count scheduled tasks that will be queued next: what pools and parallelism leave "
        "room for",
    )
    reading_max_age_seconds: float = Field(
        default=60.0,
        gt=0,
        description="An older reading changes nothing; a longer gap between two restarts the scale-in window",
    )
    protection_minutes: int = Field(
        default=60,
        ge=2,
        le=_PROTECTION_MINUTES_MAX,
        description="How long a scale-in protection lasts without a scaler; renewed at half of it",
    )
    minimum_worker_age_seconds: float = Field(
        default=60.0, ge=0, description="A younger worker is never released"
    )

    @field_validator("source")
    @classmethod
    def _source_works(cls, source: str) -> str:
        if source != "database":
            raise ValueError("is not supported yet; the only source is 'database'")
        return source

    @field_validator("api_url", "api_username", "api_password", "api_password_secret_id", "command")
    @classmethod
    def _belongs_to_the_source(cls, value: object) -> object:
        if value is not None:
            raise ValueError("is not supported yet: it belongs to a source other than 'database'")
        return value

    @field_validator("fleets")
    @classmethod
    def _nobody_is_steered_twice(cls, fleets: tuple[FleetSettings, ...]) -> tuple[FleetSettings, ...]:
        for what, values in (
            ("fleet name", [fleet.name for fleet in fleets]),
            ("service", [f"{fleet.cluster}/{fleet.service}" for fleet in fleets]),
            ("queue", [queue for fleet in fleets for queue in fleet.queues]),
        ):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is used more than once")
        return fleets

    @model_validator(mode="after")
    def _one_agent_token(self) -> Self:
        if self.agent_token is not None and self.agent_token_secret_id is not None:
            raise ValueError(
                "Set only one of WORKER_SCALER_AGENT_TOKEN and WORKER_SCALER_AGENT_TOKEN_SECRET_ID"
            )
        return self

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if (self.database_url is None) == (self.database_secret_id is None):
            raise ValueError(
                "Set exactly one of WORKER_SCALER_DATABASE_URL and WORKER_SCALER_DATABASE_SECRET_ID"
            )
        return self

    @property
    def has_database(self) -> bool:
        """Whether a database is given."""
        return self.database_url is not None or self.database_secret_id is not None

    @property
    def lock_kind(self) -> Literal["database", "dynamodb", "none"]:
        """What ``lock`` means here."""
        if self.lock != "auto":
            return self.lock
        if self.lock_table is not None:
            return "dynamodb"
        return "database" if self.has_database else "none"

    @model_validator(mode="after")
    def _lock_has_its_place(self) -> Self:
        if self.lock == "dynamodb" and self.lock_table is None:
            raise ValueError("WORKER_SCALER_LOCK=dynamodb needs WORKER_SCALER_LOCK_TABLE")
        if self.lock == "database" and not self.has_database:
            raise ValueError(
                "WORKER_SCALER_LOCK=database needs WORKER_SCALER_DATABASE_URL or "
                "WORKER_SCALER_DATABASE_SECRET_ID"
            )
        return self

    def meaning(self) -> Meaning:
        """Return how the database's rows are to be read."""
        return Meaning(
            executors=Executors(celery=frozenset(self.executors)),
            default_queue=self.default_queue,
            parallelism=self.airflow_parallelism,
            counts_admissible=self.count_admissible,
        )

    def fleet(self, given: FleetSettings) -> Fleet:
        """Return one fleet's policy, with what holds for all of them."""
        return Fleet(
            name=given.name,
            cluster=given.cluster,
            service=given.service,
            queues=given.queues,
            tasks_per_worker=given.tasks_per_worker,
            min_workers=given.min_workers,
            max_workers=given.max_workers,
            scale_in_window=timedelta(seconds=given.scale_in_window_seconds),
            agent_port=given.agent_port,
            packing=given.packing,
            foresight=given.foresee.foresight() if given.foresee is not None else None,
            max_step_out=given.max_step_out,
            max_step_in=given.max_step_in,
            start_timeout=timedelta(seconds=given.start_timeout_seconds),
            freezes=tuple(each.freeze() for each in given.freezes),
            protection=timedelta(minutes=self.protection_minutes),
            minimum_age=timedelta(seconds=self.minimum_worker_age_seconds),
            reading_max_age=timedelta(seconds=self.reading_max_age_seconds),
        )
