"""What the scaler can be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from sidecar.settings import FromJson, SidecarSettings, nearest
from worker_scaler.executors import Executors
from worker_scaler.model import Fleet
from worker_scaler.sources.facts import Meaning

_PROTECTION_MINUTES_MAX = 2880
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateTaskProtection.html"""

Name = Annotated[str, Field(min_length=1)]


class FleetSettings(BaseModel):
    """One ECS service of workers, as ``WORKER_SCALER_FLEETS`` gives it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    cluster: Name
    service: Name
    queues: tuple[Name, ...] = Field(min_length=1)
    tasks_per_worker: int = Field(default=16, gt=0)
    min_workers: int = Field(default=0, ge=0)
    max_workers: int = Field(ge=0)
    scale_in_window_seconds: float = Field(default=60.0, ge=0)
    sqs_queue_urls: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_fields(cls, values: object) -> object:
        if isinstance(values, Mapping):
            known = list(cls.model_fields)
            unknown = [str(key) for key in values if key not in cls.model_fields]
            if unknown:
                listed = ", ".join(f"{key!r}{nearest(key, known)}" for key in unknown)
                raise ValueError(f"no such field {listed}")
        return values

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is more than max_workers {self.max_workers}")
        return self


class WorkerScalerSettings(SidecarSettings):
    """The settings of ``worker-scaler``; each field is the variable ``WORKER_SCALER_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="WORKER_SCALER_")

    fleets: Annotated[tuple[FleetSettings, ...], FromJson] = Field(
        min_length=1,
        description=(
            "JSON list of the services to scale: `name`, `cluster`, `service`, `queues`, "
            "`tasks_per_worker` (16), `min_workers` (0), `max_workers`, `scale_in_window_seconds` (60), "
            "`sqs_queue_urls` (queue to URL)"
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
    statement_timeout_seconds: float = Field(
        default=2.0, gt=0, description="The database ends the one statement of a tick after this time"
    )
    database_iam_auth: bool = Field(
        default=False,
        description="Log in to the database with a token of the task role (RDS IAM authentication), not a "
        "password; TLS is used then",
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
    def _one_database(self) -> Self:
        if (self.database_url is None) == (self.database_secret_id is None):
            raise ValueError(
                "Set exactly one of WORKER_SCALER_DATABASE_URL and WORKER_SCALER_DATABASE_SECRET_ID"
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
            protection=timedelta(minutes=self.protection_minutes),
            minimum_age=timedelta(seconds=self.minimum_worker_age_seconds),
            reading_max_age=timedelta(seconds=self.reading_max_age_seconds),
        )
