"""Takes the snapshot of one upgrade: asked for once, found again after a kill, waited for to its end.

The SDK's own waiter gives up after 30 minutes; a large database's first snapshot takes hours.
https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/rds/waiter/DBSnapshotAvailable.html
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg

from sidecar.clock import Clock, Stop
from standalone_init.errors import SnapshotImpossible
from standalone_init.snapshots import memory
from standalone_init.snapshots.model import TAG, Remembered, Source, Upgrade, is_reusable, name_of
from standalone_init.snapshots.ports import Database, Rds, Snapshot
from standalone_init.snapshots.rds import QUOTA_REMEDY
from standalone_init.snapshots.waiting import Waits, is_ready, refuse_hopeless

_FAILED = frozenset({"failed", "deleting", "deleted"})


class Tell(Protocol):
    """Who is told."""

    def snapshot_requested(self, name: str) -> None:
        """It was asked for."""

    def snapshot_found(self, name: str) -> None:
        """An earlier try of this upgrade has asked for it."""

    def snapshot_progress(self, name: str, status: str, percent: int) -> None:
        """It is further than it was."""

    def snapshot_removed(self, name: str) -> None:
        """One of an earlier upgrade was removed."""

    def source_not_ready(self, source: str, status: str) -> None:
        """Its source is busy with something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long what may take, in seconds.

    Attributes:
        ready_seconds: until the instance is available.
        snapshot_seconds: until the snapshot is.
    """

    ready_seconds: float
    snapshot_seconds: float


class Taker:
    """Takes snapshots of one source. Blocking; all of it idempotent.

    Args:
        kept: how many of ours to leave, this one included; None leaves all.
    """

    def __init__(
        self,
        source: Source,
        rds: Rds,
        *,
        patience: Patience,
        kept: int | None,
        airflow_version: str,
        clock: Clock,
        stop: Stop,
        rng: random.Random,
        tell: Tell,
    ) -> None:
        self._source = source
        self._rds = rds
        self._patience = patience
        self._kept = kept
        self._airflow_version = airflow_version
        self._clock = clock
        self._waits = Waits(clock=clock, stop=stop, rng=rng)
        self._tell = tell

    def prepare(
        self, connection: psycopg.Connection[Any], upgrade: Upgrade, *, were_writers_stopped: bool
    ) -> None:
        """Find out what can be known before anything is touched, and wait until the source is available.

        Raises:
            SnapshotImpossible: the quota is reached.
            AwsRefused: a permission is missing, or the KMS key cannot be used.
            ConfigError: there is no such instance or cluster.
            TryAgain: it does not become available in time, or told to stop.
        """
        database = self._rds.database()
        if self._reusable(connection, database, upgrade, were_writers_stopped=were_writers_stopped):
            return
        refuse_hopeless(self._source, database)
        quota = self._rds.quota()
        if quota is not None and quota.is_reached:
            self.remove_old(keep="")
            quota = self._rds.quota()
        if quota is not None and quota.is_reached:
            raise SnapshotImpossible(
                "There is no room for a snapshot",
                why=f"{quota.used} of {quota.allowed} manual snapshots are there; nothing was touched",
                remedy=QUOTA_REMEDY,
            )
        self._rds.manual()
        self._wait_until_ready()

    def take(
        self,
        connection: psycopg.Connection[Any],
        upgrade: Upgrade,
        *,
        were_writers_stopped: bool,
        are_writers_stopped: bool,
    ) -> str:
        """Take it, or go on with the one that an earlier try of this upgrade asked for; return its name.

        Args:
            connection: the one that holds the lock.
            upgrade: what is left to be done.
            were_writers_stopped: before this run, so since an earlier try's snapshot.
            are_writers_stopped: now.

        Raises:
            SnapshotImpossible: the quota is reached, or it failed.
            AwsRefused: a permission is missing, or the KMS key cannot be used.
            TryAgain: it was not done in time, or told to stop; the next run goes on with it.
        """
        database = self._rds.database()
        remembered = self._reusable(connection, database, upgrade, were_writers_stopped=were_writers_stopped)
        if remembered is None:
            remembered = self._remember(connection, database, upgrade, had_stopped=are_writers_stopped)
        self._request(remembered)
        self._wait_until_done(connection, remembered.name)
        return remembered.name

    def remove_old(self, keep: str) -> None:
        """Remove our oldest snapshots beyond the number to keep; never others', never ``keep``."""
        if self._kept is None:
            return
        ours = sorted(
            (one for one in self._rds.manual() if TAG in one.tags and one.created is not None),
            key=lambda one: (one.name == keep, one.created),
            reverse=True,
        )
        for old in ours[self._kept :]:
            if old.name != keep and old.status == "available":
                self._rds.delete(old.name)
                self._tell.snapshot_removed(old.name)

    def _reusable(
        self,
        connection: psycopg.Connection[Any],
        database: Database,
        upgrade: Upgrade,
        *,
        were_writers_stopped: bool,
    ) -> Remembered | None:
        for remembered in memory.recall(connection):
            if is_reusable(
                remembered,
                source=self._source,
                resource_id=database.resource_id,
                upgrade=upgrade,
                are_writers_stopped=were_writers_stopped,
                now=self._clock.now(),
            ):
                return remembered
        return None

    def _remember(
        self,
        connection: psycopg.Connection[Any],
        database: Database,
        upgrade: Upgrade,
        *,
        had_stopped: bool,
    ) -> Remembered:
        now = self._clock.now()
        taken = {remembered.name for remembered in memory.recall(connection)}
        number = 1
        while (name := name_of(self._source, upgrade, now, number=number)) in taken:
            number += 1
        remembered = Remembered(
            name=name,
            source=str(self._source),
            resource_id=database.resource_id,
            upgrade=upgrade,
            requested=now,
            had_stopped=had_stopped,
            airflow_version=self._airflow_version,
            restore=database.restore,
        )
        memory.close(connection, why="another try took its own")
        memory.remember(connection, remembered)
        return remembered

    def _request(self, remembered: Remembered) -> None:
        """Ask for it unless it is there already: a killed run may have done so."""
        found = self._rds.find(remembered.name)
        if found is not None:
            if found.made_from != self._source.identifier:
                raise SnapshotImpossible(
                    f"The name {remembered.name!r} is taken",
                    why=f"it is a snapshot of {found.made_from!r}",
                    remedy="Remove it, or run again in a minute: the name has the time in it",
                )
            self._tell.snapshot_found(remembered.name)
            return
        self._wait_until_ready()
        self._rds.create(
            remembered.name,
            {
                TAG: "upgrade",
                "airflow-ecs:from-revision": ",".join(sorted(remembered.upgrade.from_revisions)),
                "airflow-ecs:to-revision": ",".join(sorted(remembered.upgrade.to_revisions)),
                "airflow-ecs:to-version": remembered.airflow_version,
            },
        )
        self._tell.snapshot_requested(remembered.name)

    def _wait_until_ready(self) -> None:
        status = ""

        def is_available() -> bool | None:
            nonlocal status
            database = self._rds.database()
            refuse_hopeless(self._source, database)
            if is_ready(database):
                return True
            if database.status != status:
                self._tell.source_not_ready(str(self._source), database.status)
            status = database.status
            return None

        self._waits.until(
            is_available,
            seconds=self._patience.ready_seconds,
            late=lambda: f"{self._source} is not available, but {status!r}",
            setting="STANDALONE_INIT_SNAPSHOT_READY_TIMEOUT_SECONDS",
        )

    def _wait_until_done(self, connection: psycopg.Connection[Any], name: str) -> None:
        last: Snapshot | None = None

        def is_done() -> bool | None:
            nonlocal last
            found = self._rds.find(name)
            if found is None:
                return None  # RDS shows a new one after a moment
            if found.status in _FAILED:
                memory.close(connection, why=f"it is {found.status}")
                raise SnapshotImpossible(
                    f"Snapshot {name!r} is {found.status}",
                    why="RDS could not make it, or somebody removes it",
                    remedy="Look at the instance's events; the next run asks for another one",
                )
            if last is None or (found.status, found.percent) != (last.status, last.percent):
                self._tell.snapshot_progress(name, found.status, found.percent)
            last = found
            return True if found.status == "available" else None

        self._waits.until(
            is_done,
            seconds=self._patience.snapshot_seconds,
            late=lambda: f"snapshot {name!r} is at {last.percent if last else 0} %",
            setting="STANDALONE_INIT_SNAPSHOT_TIMEOUT_SECONDS",
        )
