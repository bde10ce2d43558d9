"""What the scaler can be told."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from sidecar.settings import FromJson
from worker_scaler.advisory_lock import service_names
from worker_scaler.fleet_settings import DURATION_SECONDS_MAX, FleetSettings
from worker_scaler.model import Fleet
from worker_scaler.source_settings import SourceSettings

_PROTECTION_TICKS = 4
"""It is renewed at half of its time, and a renewal may fail once."""

_READING_TICKS = 2

_PROTECTION_MINUTES_MAX = 2880
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateTaskProtection.html"""


class WorkerScalerSettings(SourceSettings):
    """The settings of ``worker-scaler``; each field is the variable ``WORKER_SCALER_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="WORKER_SCALER_")

    fleets: Annotated[tuple[FleetSettings, ...], FromJson] = Field(
        min_length=1,
        description=(
            "JSON list of the services to steer: `name`, `cluster`, `service`, `policy` (`queue`, `floor` or "
            "`schedule`), `queues`, `tasks_per_worker` (16), `min_workers` (0), `max_workers`, "
            "`scale_in_window_seconds` (60; 0 with agents), `sqs_queue_urls` (queue to URL), "
            "`agent_port` (none; 9465 with worker agents), `pack` (true), `pack_headroom_tasks` (4), "
            "`max_step_out`, `max_step_in`, `foresee` (what is predicted from history: `prescale`, "
            "`later_stages`, `lead_quantile`, `order`, `drain_seconds`, `prescale_drain_seconds`; null "
            "predicts nothing), "
            "`start_timeout_seconds` (600), `freezes` (list of `cron`, `time_zone`, "
            "`minutes`, `what`: `scale_in` or `all`), `hours` (list of `days`, `from`, `to`, `time_zone`, "
            "`workers`, `holidays`, `closed_on`; policy `schedule`)"
        ),
    )
    interval_seconds: float = Field(
        default=10.0, gt=0, le=3600, description="From the start of one tick to the next"
    )
    dry_run: bool = Field(default=False, description="Decide and tell, change nothing")
    agent_token: SecretStr | None = Field(
        default=None, description="What the agents in the workers ask for (`AIRFLOW_ECS_WORKER_AGENT_TOKEN`)"
    )
    agent_token_secret_id: str | None = Field(
        default=None, description="Secrets Manager secret that holds it"
    )
    paused: bool = Field(
        default=False, description="Change nothing; only keep workers protected, and let all of them work"
    )
    pause_file: Path | None = Field(
        default=None,
        description="While this file exists the fleets that it names, one a line, are paused; all when it is "
        "empty",
    )
    reading_max_age_seconds: float = Field(
        default=60.0,
        gt=0,
        le=DURATION_SECONDS_MAX,
        description="An older reading changes nothing; a longer gap between two restarts the scale-in window",
    )
    protection_minutes: int = Field(
        default=60,
        ge=2,
        le=_PROTECTION_MINUTES_MAX,
        description="How long a scale-in protection lasts without a scaler; renewed at half of it",
    )
    minimum_worker_age_seconds: float = Field(
        default=60.0, ge=0, le=DURATION_SECONDS_MAX, description="A younger worker is never released"
    )

    @field_validator("fleets")
    @classmethod
    def _nobody_is_steered_twice(cls, fleets: tuple[FleetSettings, ...]) -> tuple[FleetSettings, ...]:
        for what, values in (
            ("fleet name", [fleet.name for fleet in fleets]),
            ("service", service_names([(fleet.cluster, fleet.service) for fleet in fleets])),
            ("queue", [queue for fleet in fleets for queue in fleet.queues]),
        ):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is used more than once")
        return fleets

    @model_validator(mode="after")
    def _outlast_the_ticks(self) -> Self:
        if self.protection_minutes * 60 < _PROTECTION_TICKS * self.interval_seconds:
            raise ValueError(
                f"WORKER_SCALER_PROTECTION_MINUTES={self.protection_minutes} does not last for "
                f"{_PROTECTION_TICKS} ticks of WORKER_SCALER_INTERVAL_SECONDS={self.interval_seconds:g}: "
                "workers would be unprotected between two of them"
            )
        if self.reading_max_age_seconds < _READING_TICKS * self.interval_seconds:
            raise ValueError(
                f"WORKER_SCALER_READING_MAX_AGE_SECONDS={self.reading_max_age_seconds:g} is less than "
                f"{_READING_TICKS} ticks of WORKER_SCALER_INTERVAL_SECONDS={self.interval_seconds:g}: every "
                "missed tick would begin the scale-in window anew"
            )
        return self

    @model_validator(mode="after")
    def _one_agent_token(self) -> Self:
        if self.agent_token is not None and self.agent_token_secret_id is not None:
            raise ValueError(
                "Set only one of WORKER_SCALER_AGENT_TOKEN and WORKER_SCALER_AGENT_TOKEN_SECRET_ID"
            )
        return self

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
            scale_in_window=given.scale_in_window,
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
