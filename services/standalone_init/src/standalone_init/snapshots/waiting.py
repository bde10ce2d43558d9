"""Waits on RDS: interruptible, with a budget, blind to passing failures, and never for what cannot come."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sidecar.clock import Clock, Stop
from sidecar.errors import Transient
from sidecar.loop import backoff_seconds
from standalone_init.errors import AwsRefused, SnapshotImpossible, TryAgain
from standalone_init.snapshots.model import Source
from standalone_init.snapshots.ports import Database

_POLL_FIRST_SECONDS = 1.0
_POLL_MAX_SECONDS = 30.0
_FAILURES_IN_A_ROW = 10
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html#Overview.DBInstance.Status
_READY = frozenset({"available", "storage-optimization"})
_HOPELESS = frozenset({"failed", "deleting", "stopped", "incompatible-restore", "incompatible-parameters"})
_KEY_LOST = "inaccessible-encryption-credentials"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How this run waits."""

    clock: Clock
    stop: Stop
    rng: random.Random

    def until(
        self, look: Callable[[], T | None], *, seconds: float, late: Callable[[], str], setting: str
    ) -> T:
        """Return the first thing that ``look`` returns; a few failures in a row are no news.

        Args:
            look: returns None while there is nothing yet.
            seconds: the budget.
            late: says how far it is.
            setting: with which a person can raise the budget.

        Raises:
            TryAgain: the budget is used up, or told to stop.
            Transient: AWS does not answer any more.
        """
        started = self.clock.monotonic()
        looks = failures = 0
        while True:
            try:
                found, failures = look(), 0
            except Transient:
                found, failures = None, failures + 1
                if failures >= _FAILURES_IN_A_ROW:
                    raise
            if found is not None:
                return found
            if self.clock.monotonic() - started > seconds:
                raise TryAgain(
                    f"Waited {seconds:g} s", why=late(), remedy=f"Run again, it goes on; or raise {setting}"
                )
            looks += 1
            pause = backoff_seconds(
                looks, base_seconds=_POLL_FIRST_SECONDS, cap_seconds=_POLL_MAX_SECONDS, rng=self.rng
            )
            if self.stop.wait_in_thread(pause):
                raise TryAgain(
                    "Stopped during the snapshot",
                    why=f"{self.stop.reason} was received; {late()}",
                    remedy="Run again: it goes on with the same snapshot",
                )


def is_ready(database: Database) -> bool:
    """Whether a snapshot can be asked for."""
    return database.status in _READY


def refuse_hopeless(source: Source, database: Database) -> None:
    """Raise when waiting does not help.

    Raises:
        AwsRefused: its KMS key is lost.
        SnapshotImpossible: it is stopped, being removed or broken.
    """
    if database.status == _KEY_LOST:
        raise AwsRefused(
            f"{source} cannot use its KMS key",
            why=f"its status is {database.status!r}",
            remedy="Enable the key and give RDS the grant back",
        )
    if database.status in _HOPELESS:
        raise SnapshotImpossible(
            f"{source} cannot be snapshot",
            why=f"its status is {database.status!r}",
            remedy="Bring it back to 'available'",
        )
