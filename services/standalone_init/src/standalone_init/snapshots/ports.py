"""What a snapshot's maker needs of AWS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The instance or cluster.

    Attributes:
        status: ``available`` or why not.
        resource_id: never given to another one.
        restore: what a restored one must be given to be reached like this one, by AWS's parameter names.
    """

    status: str
    resource_id: str
    restore: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A manual snapshot.

    Attributes:
        status: ``creating``, ``available``, ``failed`` and others.
        percent: how far it is.
        made_from: identifier of its instance or cluster.
        created: None while AWS does not say it.
    """

    name: str
    status: str
    percent: int
    made_from: str
    created: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Manual snapshots of this account and region."""

    used: int
    allowed: int

    @property
    def is_reached(self) -> bool:
        """Whether there is no room for one more."""
        return self.used >= self.allowed


class Rds(Protocol):
    """One source's part of the RDS API. All of it raises SidecarError (see ``aws_calls.asking``)."""

    def database(self) -> Database:
        """Return the source as it is now."""

    def quota(self) -> Quota | None:
        """Return how many snapshots there may be; None when AWS does not say."""

    def find(self, name: str) -> Snapshot | None:
        """Return a snapshot; None when there is none of that name."""

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        """Ask for one; it is not done when this returns."""

    def manual(self) -> tuple[Snapshot, ...]:
        """Return all manual snapshots of the source."""

    def delete(self, name: str) -> None:
        """Remove one."""
