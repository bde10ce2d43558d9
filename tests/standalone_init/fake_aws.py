"""ECS, Application Auto Scaling and RDS in memory; any call to them may be the last one of a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from standalone_init.snapshots.model import Kind, is_name
from standalone_init.snapshots.ports import Database, Quota, Snapshot
from standalone_init.writers.model import Memory, Remaining, Service, Sighting, Suspended, memory_of

AN_HOUR_AGO = datetime(2026, 11, 22, tzinfo=UTC)


class Killed(BaseException):
    """The process ended here, without any ``except`` of its own."""


@dataclass
class Mortality:
    """Ends the process before or after its n-th call that changes something.

    Attributes:
        left: changes until the end; None never ends it.
        is_after: whether that last change is still made.
    """

    left: int | None = None
    is_after: bool = False
    changes: int = 0

    def before(self) -> None:
        self.changes += 1
        if self.left is not None and not self.is_after and self.changes > self.left:
            raise Killed

    def after(self) -> None:
        if self.left is not None and self.is_after and self.changes > self.left:
            raise Killed


@dataclass
class FakeEcs:
    """Implements the port; counts are followed at once, unless ``stubborn`` tasks remain."""

    desired: dict[Service, int]
    mortality: Mortality = field(default_factory=Mortality)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    stubborn: tuple[Remaining, ...] = ()
    lowest_seen: dict[Service, int] = field(default_factory=dict)

    def look(self, services: Sequence[Service]) -> Mapping[Service, Sighting]:
        return {
            service: Sighting(
                service=service,
                arn=f"arn:{service}",
                desired=self.desired[service],
                running=self.desired[service],
                pending=0,
                memory=memory_of(service, self.tags.get(f"arn:{service}", {})),
            )
            for service in services
            if service in self.desired
        }

    def remaining(self, services: Sequence[Service]) -> tuple[Remaining, ...]:
        return tuple(task for task in self.stubborn if task.service in services)

    def tag(self, sighting: Sighting, memory: Memory) -> None:
        self.mortality.before()
        self.tags[sighting.arn] = memory.tags()
        self.mortality.after()

    def untag(self, sighting: Sighting) -> None:
        self.mortality.before()
        self.tags.pop(sighting.arn, None)
        self.mortality.after()

    def set_desired(self, service: Service, count: int) -> None:
        self.mortality.before()
        self.desired[service] = count
        self.mortality.after()


@dataclass
class FakeScaling:
    """Implements the port."""

    suspended: dict[Service, Suspended] = field(default_factory=dict)
    mortality: Mortality = field(default_factory=Mortality)

    def look(self, services: Sequence[Service]) -> Mapping[Service, Suspended]:
        return {service: self.suspended[service] for service in services if service in self.suspended}

    def suspend(self, service: Service, what: Suspended) -> None:
        self.mortality.before()
        self.suspended[service] = what
        self.mortality.after()


@dataclass
class FakeRds:
    """Implements the port, with AWS's own rules for names: the emulators take more.

    Attributes:
        statuses: of the instance, one per look; the last one stays.
        progress: of each snapshot, one per look; the last one stays.
    """

    kind: Kind = Kind.RDS
    identifier: str = "airflow"
    resource_id: str = "db-1"
    statuses: list[str] = field(default_factory=lambda: ["available"])
    progress: list[tuple[str, int]] = field(default_factory=lambda: [("available", 100)])
    allowed: Quota | None = None
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    mortality: Mortality = field(default_factory=Mortality)

    def database(self) -> Database:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Database(
            status=status, resource_id=self.resource_id, restore={"db-subnet-group-name": "private"}
        )

    def quota(self) -> Quota | None:
        return self.allowed and Quota(used=len(self.snapshots), allowed=self.allowed.allowed)

    def find(self, name: str) -> Snapshot | None:
        found = self.snapshots.get(name)
        if found is None:
            return None
        if name in self.created:
            status, percent = self.progress.pop(0) if len(self.progress) > 1 else self.progress[0]
            found = self.snapshots[name] = replace(found, status=status, percent=percent)
        return found

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        self.mortality.before()
        assert is_name(self.kind, name), name
        assert name not in self.snapshots
        self.created.append(name)
        self.snapshots[name] = Snapshot(
            name=name, status="creating", percent=0, made_from=self.identifier, created=AN_HOUR_AGO, tags=tags
        )
        self.mortality.after()

    def manual(self) -> tuple[Snapshot, ...]:
        return tuple(self.snapshots.values())

    def delete(self, name: str) -> None:
        del self.snapshots[name]
