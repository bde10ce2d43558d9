"""What a snapshot is called, and whether the one of an earlier try is still the right one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

PREFIX = "airflow-ecs"
TAG = "airflow-ecs:standalone-init"
"""On every snapshot of ours; only these are ever removed."""

_SHOWN_OF_REVISION = 12
_NOTHING = "none"
# Without writers that were stopped, what is written after a snapshot is not in it.
_FRESH = timedelta(hours=1)


class Kind(StrEnum):
    """What is snapshot. The values are those of the setting."""

    RDS = "rds"
    AURORA = "aurora"


# RDS: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html
# Aurora: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBClusterSnapshot.html
_LONGEST_NAME = {Kind.RDS: 255, Kind.AURORA: 63}
# Letters, digits and hyphens; begins with a letter, never two hyphens together, none at the end.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*")
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
_LONGEST_SOURCE = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The RDS instance or Aurora cluster that Airflow's database is on."""

    kind: Kind
    identifier: str

    def __str__(self) -> str:
        """As in the setting."""
        return f"{self.kind}:{self.identifier}"

    @classmethod
    def of(cls, text: str) -> Source:
        """Read the setting.

        Raises:
            ValueError: it is no ``rds:<instance>`` or ``aurora:<cluster>``.
        """
        kind, _, identifier = text.partition(":")
        if kind not in tuple(Kind):
            raise ValueError(f"is 'rds:<instance>' or 'aurora:<cluster>' (got {text!r})")
        if not _NAME.fullmatch(identifier) or len(identifier) > _LONGEST_SOURCE:
            raise ValueError(f"{identifier!r} is no DB identifier")
        return cls(kind=Kind(kind), identifier=identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """From which revision to which; the core's, more than one only on a branch."""

    from_revisions: frozenset[str]
    to_revisions: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A snapshot that was asked for, or is about to be.

    Attributes:
        resource_id: of its source: a restored database has another one, under the same name or not.
        had_stopped: whether writers were stopped when it was asked for.
        is_closed: the upgrade it was made for has ended, or somebody may have written since.
        restore: what a restored instance must be given; its source had it.
    """

    name: str
    source: str
    resource_id: str
    upgrade: Upgrade
    requested: datetime
    had_stopped: bool
    is_closed: bool = False
    airflow_version: str = ""
    restore: Mapping[str, object] = field(default_factory=dict)


def name_of(source: Source, upgrade: Upgrade, at: datetime, *, number: int = 1) -> str:
    """Return a name that says what is in it, within AWS's rules.

    Args:
        source: what is snapshot.
        upgrade: what it is made for.
        at: of the first attempt.
        number: above 1 when that name is taken.
    """
    parts = (
        _short(upgrade.from_revisions),
        _short(upgrade.to_revisions),
        f"{at:%Y%m%d%H%M}",
        *([str(number)] if number > 1 else []),
    )
    tail = "-".join(parts)
    room = _LONGEST_NAME[source.kind] - len(PREFIX) - len(tail) - 2
    return f"{PREFIX}-{source.identifier[:room].rstrip('-')}-{tail}"


def is_name(kind: Kind, name: str) -> bool:
    """Whether AWS takes it; the emulators take more."""
    return len(name) <= _LONGEST_NAME[kind] and _NAME.fullmatch(name) is not None


def is_reusable(
    remembered: Remembered,
    *,
    source: Source,
    resource_id: str,
    upgrade: Upgrade,
    are_writers_stopped: bool,
    now: datetime,
) -> bool:
    """Whether a snapshot of an earlier try holds all that this try would put into one.

    Never one of an earlier upgrade between the same revisions: that one is closed, or its writers have
    written since, or the database is a restored one.

    Args:
        remembered: the earlier try's.
        source: what is to be snapshot now.
        resource_id: of that, now.
        upgrade: what is left: after an interruption it begins at a later revision.
        are_writers_stopped: and have been since that snapshot.
        now: aware.
    """
    is_same = (
        not remembered.is_closed
        and remembered.source == str(source)
        and remembered.resource_id == resource_id
        and remembered.upgrade.to_revisions == upgrade.to_revisions
    )
    has_moved = remembered.upgrade.from_revisions != upgrade.from_revisions
    has_nobody_written = remembered.had_stopped and are_writers_stopped
    return is_same and (has_moved or has_nobody_written or now - remembered.requested < _FRESH)


def _short(revisions: frozenset[str]) -> str:
    letters = re.sub(r"[^A-Za-z0-9]", "", min(revisions, default=_NOTHING))
    return letters[:_SHOWN_OF_REVISION] or _NOTHING
