"""What standalone_init can be told. What it cannot do yet is refused, never ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from sidecar.settings import FromJson, SidecarSettings, nearest
from standalone_init.keys.purposes import PURPOSES
from standalone_init.snapshots.model import Source


class StopService(BaseModel):
    """An ECS service that writes to the database."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: str = Field(min_length=1)
    service: str = Field(min_length=1)


class StandaloneInitSettings(SidecarSettings, env_prefix="STANDALONE_INIT_"):
    """Settings of ``standalone-init``."""

    http_port: int = Field(
        default=0, ge=0, le=65535, description="Port of /metrics while it runs; 0, the default, turns it off"
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Airflow's database as Airflow has it: `postgresql+psycopg2://user:pw@host/db`",
    )
    database_secret_id: str | None = Field(
        default=None, description="Secrets Manager secret with that URL, or an RDS secret, instead of the URL"
    )
    connect_timeout_seconds: float = Field(
        default=300.0,
        gt=0,
        description="How long an unreachable database is tried again (exit 69 afterwards)",
    )
    lock_timeout_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="How long to wait for another run, or another migration (then exit 75)",
    )
    airflow_command: str = Field(
        default="airflow", description="How Airflow is called; found on `PATH`, may have arguments"
    )
    airflow_python: Path | None = Field(
        default=None, description="Airflow's Python, when the first line of that command does not name it"
    )
    migrate_timeout_seconds: float = Field(
        default=3600.0, gt=0, description="How long `airflow db migrate` may take before it is stopped"
    )
    ddl_lock_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        description="How long a statement of a migration waits for a lock; readers queue behind it",
    )
    ddl_lock_tries: int = Field(
        default=5, gt=0, description="How often a migration is run when a lock is not free (then exit 75)"
    )
    files_file: Path | None = Field(
        default=None, description="TOML file with the directories to make: `[[directories]]` `path`, `mode`"
    )
    secrets: Annotated[dict[str, str], FromJson] = Field(
        default_factory=dict,
        description="JSON object of the shared secrets to make once: `fernet_key`, `jwt_secret`,"
        " `api_secret_key` to the name of a Secrets Manager secret",
    )
    objects_file: Path | None = Field(
        default=None,
        description="YAML file with users, roles, pools, connections and variables (see docs/how-to)",
    )
    objects_prune: bool = Field(
        default=False,
        description="Remove objects that an earlier file declared and this one does not",
    )
    admin_username: str | None = Field(
        default=None,
        description="Give this user of `[core] simple_auth_manager_users` (and its neighbours) a password",
    )
    admin_password: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="That user's password; without it one is generated into the file",
    )
    admin_password_secret_id: str | None = Field(
        default=None, description="Secrets Manager secret with that password, instead of the password"
    )
    report: str | None = Field(
        default=None, description="Where to write the JSON report of each run: a path, or `s3://bucket/key`"
    )
    stop_services: Annotated[tuple[StopService, ...], FromJson] = Field(
        default=(),
        description='ECS services to stop for an upgrade, in this order: `[{"cluster": …, "service": …}]`;'
        " started again as they were, in the other order",
    )
    drain_timeout_seconds: float = Field(
        default=900.0, gt=0, description="How long the tasks of these services may take to end (then exit 75)"
    )
    snapshot: str | None = Field(
        default=None, description="Snapshot before an upgrade: `rds:<instance>` or `aurora:<cluster>`"
    )
    snapshot_ready_timeout_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="How long to wait until the instance is available (then exit 75)",
    )
    snapshot_timeout_seconds: float = Field(
        default=21600.0, gt=0, description="How long a snapshot may take (then exit 75; the next run goes on)"
    )
    snapshots_kept: int | None = Field(
        default=None,
        ge=1,
        description="Remove our own snapshots of earlier upgrades but this many; never others'",
    )
    max_lock_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Refuse an upgrade whose estimated time under locks is longer (see `plan`; exit 70)",
    )

    @field_validator("secrets")
    @classmethod
    def _purposes_are_known(cls, secrets: dict[str, str]) -> dict[str, str]:
        unknown = [f"{name!r}{nearest(name, list(PURPOSES))}" for name in secrets if name not in PURPOSES]
        if unknown:
            raise ValueError(f"no such purpose {', '.join(unknown)}; there are {', '.join(PURPOSES)}")
        return secrets

    @field_validator("snapshot")
    @classmethod
    def _snapshot_has_a_source(cls, snapshot: str | None) -> str | None:
        if snapshot:
            Source.of(snapshot)
        return snapshot or None

    @field_validator("report")
    @classmethod
    def _report_has_a_place(cls, report: str | None) -> str | None:
        if report and report.startswith("s3://") and not all(report[5:].partition("/")):
            raise ValueError(f"is 's3://bucket/key' or a path (got {report!r})")
        return report or None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.database_url is None) == (self.database_secret_id is None):
            raise ValueError(
                "STANDALONE_INIT_DATABASE_URL or STANDALONE_INIT_DATABASE_SECRET_ID: give exactly one of them"
            )
        if self.admin_password and self.admin_password_secret_id:
            raise ValueError(
                "STANDALONE_INIT_ADMIN_PASSWORD or STANDALONE_INIT_ADMIN_PASSWORD_SECRET_ID: give one"
            )
        if (self.admin_password or self.admin_password_secret_id) and not self.admin_username:
            raise ValueError("STANDALONE_INIT_ADMIN_USERNAME: is required when an admin password is given")
        return self
