"""Services that write to the database, and what must not be forgotten while they are stopped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

COUNT_TAG = "airflow-ecs:desired-count"
SCALING_TAG = "airflow-ecs:scaling-suspended"
POSITION_TAG = "airflow-ecs:database-at"

_SEPARATOR = " "
_NOTHING = "nothing"
# A tag's value; longer positions are kept in the database alone.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html
_LONGEST_TAG = 256


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Service:
    """An ECS service.

    Attributes:
        cluster: short name or ARN.
        service: short name.
    """

    cluster: str
    service: str

    def __str__(self) -> str:
        """For people, and the key under which it is remembered."""
        return f"{_last_part(self.cluster)}/{_last_part(self.service)}"

    @property
    def resource(self) -> str:
        """How Application Auto Scaling names it."""
        return f"service/{self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """What of a scalable target's work is suspended.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_SuspendedState.html
    """

    dynamic_in: bool
    dynamic_out: bool
    scheduled: bool

    def __str__(self) -> str:
        """As a tag's value: its characters are limited."""
        names = [name for name in ("dynamic_in", "dynamic_out", "scheduled") if getattr(self, name)]
        return _SEPARATOR.join(names) or _NOTHING

    @classmethod
    def of(cls, text: str) -> Suspended:
        """Read what ``str`` made."""
        names = text.split(_SEPARATOR)
        return cls(
            dynamic_in="dynamic_in" in names,
            dynamic_out="dynamic_out" in names,
            scheduled="scheduled" in names,
        )


ALL_SUSPENDED = Suspended(dynamic_in=True, dynamic_out=True, scheduled=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How a writer was before it was stopped.

    Attributes:
        desired: its desired count.
        suspended: of its scalable target, before ours; None when it has none.
        position: where the database was; "" when that is not known any more.
        since: when it was remembered; None when only the service's tags say so.
    """

    service: Service
    desired: int
    suspended: Suspended | None = None
    position: str = ""
    since: datetime | None = None

    def __str__(self) -> str:
        """For people."""
        return f"{self.service} to {self.desired}"

    def tags(self) -> dict[str, str]:
        """Return what the service carries, so that a lost or restored database forgets nothing."""
        tags = {COUNT_TAG: str(self.desired)}
        if self.suspended is not None:
            tags[SCALING_TAG] = str(self.suspended)
        if len(self.position) <= _LONGEST_TAG:
            tags[POSITION_TAG] = self.position
        return tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One look at a service.

    Attributes:
        arn: of the service; what tags are put on.
        running, pending: tasks, as ECS counts them: one that is being stopped is no longer counted.
        memory: what its tags say; None when they say nothing.
    """

    service: Service
    arn: str
    desired: int
    running: int
    pending: int
    memory: Memory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """A task that has not ended. ``address`` is "" when ECS does not say it."""

    service: Service
    task_id: str
    status: str
    address: str = ""

    def __str__(self) -> str:
        """For people."""
        return f"{self.service} task {self.task_id} {self.status}{f' at {self.address}' * bool(self.address)}"


def memory_of(service: Service, tags: Mapping[str, str]) -> Memory | None:
    """Read a service's tags; None when they remember nothing, or no count."""
    count = tags.get(COUNT_TAG, "")
    if not (count.isascii() and count.isdigit()):
        return None
    suspended = tags.get(SCALING_TAG)
    return Memory(
        service=service,
        desired=int(count),
        suspended=None if suspended is None else Suspended.of(suspended),
        position=tags.get(POSITION_TAG, ""),
    )


def recalled(rows: Iterable[Memory], sightings: Iterable[Sighting]) -> tuple[Memory, ...]:
    """Return all that is remembered, in the order of stopping: the rows, then what only tags say."""
    by_rows = {str(memory.service): memory for memory in rows}
    by_tags = {
        str(seen.service): seen.memory
        for seen in sightings
        if seen.memory is not None and str(seen.service) not in by_rows
    }
    return (*by_rows.values(), *by_tags.values())


def may_start(remembered: Iterable[Memory], *, is_at_head: bool, position: str) -> bool:
    """Whether the programs that were stopped can work with the database as it is now.

    They can where they were stopped, and at the head that this run took it to; nowhere in between.
    """
    return is_at_head or all(memory.position == position != "" for memory in remembered)


def _last_part(name: str) -> str:
    return name.rsplit("/", 1)[-1]
