"""What the scaler can be told of where it reads: the source, the database, the lease."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from sidecar.settings import FromJson, SidecarSettings
from worker_scaler.executors import Executors
from worker_scaler.sources.facts import Meaning


class SourceSettings(SidecarSettings):
    """The part of the settings that says where everything is read."""

    source: Literal["database", "rest", "command"] = Field(
        default="database",
        description="Where the queue depth is read: Airflow's database, its REST API v2, or a command that "
        "prints it",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Airflow's database, SQLAlchemy-style: `postgresql://user:password@host/airflow`",
    )
    database_secret_id: str | None = Field(
        default=None, description="Secrets Manager secret that holds that URL, or an RDS secret's JSON"
    )
    api_url: str | None = Field(
        default=None, pattern=r"^https?://", description="Source `rest`: where Airflow's API answers"
    )
    api_username: str | None = Field(default=None, description="Source `rest`: a user with the role Viewer")
    api_password: SecretStr | None = Field(default=None, description="Source `rest`: that user's password")
    api_password_secret_id: str | None = Field(
        default=None, description="Source `rest`: Secrets Manager secret that holds the password"
    )
    api_timeout_seconds: float = Field(
        default=15.0, gt=0, description="Source `rest`: one reading, with all its requests, ends after this"
    )
    command: str | None = Field(
        default=None,
        description="Source `command`: prints what `airflow-ecs queue-depth --output json` prints; words and "
        "quotes, no shell",
    )
    command_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Source `command`: it is ended after this time"
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

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> Self:
        problems = [*self._of_database(), *self._of_rest(), *self._of_command()]
        if self.count_admissible and self.source != "database":
            problems.append("WORKER_SCALER_COUNT_ADMISSIBLE needs WORKER_SCALER_SOURCE=database")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _of_database(self) -> list[str]:
        given = [self.database_url is not None, self.database_secret_id is not None]
        if all(given) or (self.source == "database" and not any(given)):
            return ["Set exactly one of WORKER_SCALER_DATABASE_URL and WORKER_SCALER_DATABASE_SECRET_ID"]
        if self.database_iam_auth and not any(given):
            return ["WORKER_SCALER_DATABASE_IAM_AUTH needs WORKER_SCALER_DATABASE_URL"]
        return []

    def _of_rest(self) -> list[str]:
        given = {
            "API_URL": self.api_url,
            "API_USERNAME": self.api_username,
            "API_PASSWORD": self.api_password,
            "API_PASSWORD_SECRET_ID": self.api_password_secret_id,
        }
        if self.source != "rest":
            return [f"WORKER_SCALER_{name} needs WORKER_SCALER_SOURCE=rest" for name in given if given[name]]
        problems = [
            f"WORKER_SCALER_SOURCE=rest needs WORKER_SCALER_{name}"
            for name in ("API_URL", "API_USERNAME")
            if not given[name]
        ]
        if (self.api_password is None) == (self.api_password_secret_id is None):
            problems.append(
                "Set exactly one of WORKER_SCALER_API_PASSWORD and WORKER_SCALER_API_PASSWORD_SECRET_ID"
            )
        return problems

    def _of_command(self) -> list[str]:
        if (self.source == "command") == (self.command is not None):
            return []
        if self.command is None:
            return ["WORKER_SCALER_SOURCE=command needs WORKER_SCALER_COMMAND"]
        return ["WORKER_SCALER_COMMAND needs WORKER_SCALER_SOURCE=command"]

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
