"""One fleet, as ``WORKER_SCALER_FLEETS`` gives it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import date, time, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import holidays
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sidecar.settings import nearest
from worker_scaler.forecast.policy import Foresight
from worker_scaler.freeze import Freeze
from worker_scaler.model import Packing
from worker_scaler.policies import Policy
from worker_scaler.policies.floor import FloorPolicy
from worker_scaler.policies.queue import QueuePolicy
from worker_scaler.policies.schedule import Hours, SchedulePolicy, parse_days

DEFAULT_AGENT_PORT = 9465
"""docs/adr/0004"""

DEFAULT_WINDOW = timedelta(seconds=60)
"""Without agents nobody can be cordoned and taken back: the demand has to have been lower for a while."""


_FREEZE_MINUTES_MAX = 366 * 24 * 60
DURATION_SECONDS_MAX = 30 * 86_400.0
"""No window, age or interval is longer than this: more is a slip of the unit."""


def _is_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as err:
        raise ValueError(f"{name!r} is no IANA time zone, such as America/Sao_Paulo") from err
    return name


Name = Annotated[str, Field(min_length=1)]
TimeZone = Annotated[str, AfterValidator(_is_time_zone)]
QueueUrl = Annotated[str, Field(pattern=r"^https?://[^/\s]+/\S+$")]


class FreezeSettings(BaseModel):
    """One freeze window; ``what`` is ``scale_in`` (it may still grow) or ``all``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: Name
    time_zone: TimeZone = "UTC"
    minutes: float = Field(gt=0, le=_FREEZE_MINUTES_MAX)
    what: Literal["scale_in", "all"] = "scale_in"

    @model_validator(mode="after")
    def _cron_can_be_read(self) -> Self:
        self.freeze().check()
        return self

    def freeze(self) -> Freeze:
        """Return the window as a value."""
        return Freeze(
            cron=self.cron,
            time_zone=self.time_zone,
            duration=timedelta(minutes=self.minutes),
            also_out=self.what == "all",
        )


class HoursSettings(BaseModel):
    """One window of policy ``schedule``; ``holidays`` is a country, or ``country-subdivision``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    days: Name = "mon-sun"
    begins: time = Field(alias="from")
    ends: time = Field(alias="to")
    time_zone: TimeZone = "UTC"
    workers: int = Field(ge=0)
    holidays: str | None = None
    closed_on: frozenset[date] = frozenset()

    @model_validator(mode="after")
    def _hours_are_of_its_time_zone(self) -> Self:
        if self.begins.tzinfo is not None or self.ends.tzinfo is not None:
            raise ValueError(
                "from and to are local times of time_zone, without an offset: 08:00, not 08:00+02:00"
            )
        return self

    @model_validator(mode="after")
    def _days_can_be_read(self) -> Self:
        self.hours()
        return self

    def hours(self) -> Hours:
        """Return the window as a value."""
        return Hours(
            days=parse_days(self.days),
            begins=self.begins,
            ends=self.ends,
            time_zone=self.time_zone,
            workers=self.workers,
            closed_on=_Closed(self.closed_on, self.holidays),
        )


class ForesightSettings(BaseModel):
    """What is predicted from Airflow's past, and how boldly; see :class:`Foresight`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prescale: bool = True
    later_stages: bool = True
    lead_quantile: float = Field(default=0.3, gt=0, lt=1)
    order: bool = True
    drain_seconds: float = Field(default=60.0, ge=0, le=DURATION_SECONDS_MAX)
    prescale_drain_seconds: float = Field(default=60.0, ge=0, le=DURATION_SECONDS_MAX)

    def foresight(self) -> Foresight:
        """Return it as a value."""
        return Foresight(
            prescale=self.prescale,
            later_stages=self.later_stages,
            lead_quantile=self.lead_quantile,
            order=self.order,
            drain=timedelta(seconds=self.drain_seconds),
            prescale_drain=timedelta(seconds=self.prescale_drain_seconds),
        )


class FleetSettings(BaseModel):
    """One ECS service and how it is steered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    cluster: Name
    service: Name
    policy: Literal["queue", "floor", "schedule"] = "queue"
    queues: tuple[Name, ...] = ()
    tasks_per_worker: int = Field(default=16, gt=0)
    min_workers: int = Field(default=0, ge=0)
    max_workers: int = Field(ge=0)
    scale_in_window_seconds: float | None = Field(default=None, ge=0, le=DURATION_SECONDS_MAX)
    sqs_queue_urls: dict[str, QueueUrl] = Field(default_factory=dict)
    agent_port: int | None = Field(default=None, ge=1, le=65535)
    pack: bool = True
    pack_headroom_tasks: int = Field(default=4, ge=0)
    foresee: ForesightSettings | None = ForesightSettings()
    max_step_out: int | None = Field(default=None, gt=0)
    max_step_in: int | None = Field(default=None, gt=0)
    start_timeout_seconds: float = Field(default=600.0, gt=0, le=DURATION_SECONDS_MAX)
    freezes: tuple[FreezeSettings, ...] = ()
    hours: tuple[HoursSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_fields(cls, values: object) -> object:
        if isinstance(values, Mapping):
            if values.get("policy") == "wake":
                raise ValueError(
                    "policy 'wake' is not built yet; 'schedule' steers a web server by the clock"
                )
            known = list(cls.model_fields)
            unknown = [str(key) for key in values if key not in cls.model_fields]
            if unknown:
                listed = ", ".join(f"{key!r}{nearest(key, known)}" for key in unknown)
                raise ValueError(f"no such field {listed}")
        return values

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is more than max_workers {self.max_workers}")
        if self.policy == "queue" and not self.queues:
            raise ValueError("queues: policy 'queue' needs at least one")
        if self.policy != "queue" and (self.queues or self.agent_port is not None):
            raise ValueError(
                f"policy {self.policy!r} knows no busy worker: a service of Celery workers needs 'queue'"
            )
        if bool(self.hours) != (self.policy == "schedule"):
            raise ValueError(
                "hours: policy 'schedule' needs at least one window, and no other policy has any"
            )
        most = max((each.workers for each in self.hours), default=0)
        if most > self.max_workers:
            raise ValueError(f"hours: workers {most} is more than max_workers {self.max_workers}")
        unknown = sorted(self.sqs_queue_urls.keys() - set(self.queues))
        if unknown:
            raise ValueError(f"sqs_queue_urls: {unknown[0]!r} is none of the fleet's queues")
        if self.policy == "floor" and self.min_workers == 0:
            raise ValueError("min_workers: policy 'floor' needs a floor of at least 1")
        return self

    @property
    def scale_in_window(self) -> timedelta:
        """How long a lower demand must have lasted; by default not at all where agents prove idleness."""
        if self.scale_in_window_seconds is not None:
            return timedelta(seconds=self.scale_in_window_seconds)
        return timedelta(0) if self.agent_port else DEFAULT_WINDOW

    @property
    def packing(self) -> Packing | None:
        """How work is packed onto few workers; without agents there is nothing to pack with."""
        return Packing(headroom_tasks=self.pack_headroom_tasks) if self.pack and self.agent_port else None

    def policy_object(self) -> Policy:
        """Return what chooses its count."""
        if self.policy == "floor":
            return FloorPolicy()
        if self.policy == "schedule":
            return SchedulePolicy(hours=tuple(each.hours() for each in self.hours))
        return QueuePolicy()


class _Closed:
    """Dates on which a window does not open: given ones, and a country's public holidays."""

    def __init__(self, dates: Container[date], place: str | None) -> None:
        self._dates = dates
        self._holidays: Container[date] = _holidays_of(place) if place else ()

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and (day in self._dates or day in self._holidays)


def _holidays_of(place: str) -> Container[date]:
    country, _, subdivision = place.partition("-")
    try:
        found: Container[date] = holidays.country_holidays(country, subdiv=subdivision or None)
    except NotImplementedError as err:
        raise ValueError(f"no holidays are known of {place!r}; give a country like BR, or BR-SP") from err
    return found
