"""Keeps what a forecast is made of: Airflow's history, read beside the ticks, and each fleet's starts.

Nothing is stored: after a restart the history is read again, and ECS remembers the starts of the last hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from worker_scaler.forecast.foresee import foresee, lead
from worker_scaler.forecast.latency import StartLatencies
from worker_scaler.forecast.waves import FollowedRun, follow
from worker_scaler.history import History
from worker_scaler.model import Fleet, Reading, Sighting
from worker_scaler.outlook import Outlook


class Past(Protocol):
    """Where the history is read. Blocking. Each raises ConfigError, or Transient when a retry may help."""

    def read(self) -> History:
        """Return all of it."""

    def next_runs(self, known: History) -> History:
        """Return ``known`` with its next runs read again, which is cheap."""


class Forecaster:
    """Implements :class:`worker_scaler.ports.Forecast`.

    Args:
        past: where the history is read.
        tick: from one decision to the next.
    """

    def __init__(self, past: Past, *, tick: timedelta) -> None:
        self._past = past
        self._tick = tick
        self._history = History()
        self._latencies: dict[str, StartLatencies] = {}
        self._followed: dict[str, tuple[FollowedRun, ...]] = {}

    def read_history(self) -> None:
        """Read the whole history: every few minutes. Blocking; after a failure the old one stays."""
        self._history = self._past.read()

    def read_next_runs(self) -> None:
        """Read only the runs to come: every minute. Blocking; after a failure the old ones stay."""
        self._history = self._past.next_runs(self._history)

    def outlook(self, fleet: Fleet, sighting: Sighting, reading: Reading, *, now: datetime) -> Outlook:
        """Return what is expected of a fleet (see the port)."""
        latencies = self._latencies.get(fleet.name, StartLatencies()).seen(sighting)
        self._latencies[fleet.name] = latencies
        followed: tuple[FollowedRun, ...] = ()
        if fleet.foresight is not None and fleet.foresight.later_stages:
            known, until = (
                self._followed.get(fleet.name, ()),
                now + lead(fleet.foresight, latencies) + self._tick,
            )
            followed = follow(known, self._history.next_runs, reading, now=now, until=until)
            self._followed[fleet.name] = followed
        return foresee(
            fleet, sighting, reading, self._history, latencies, now=now, tick=self._tick, followed=followed
        )
