"""Stops the writers of a database for an upgrade, and starts them as they were: after a kill, too.

What must not be lost, how many tasks each service had, is written down twice before the first service is
touched: in the database, and on the service itself. Neither is overwritten: whoever comes after an
interrupted run sees a count of 0 and must not take it for what was wanted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import psycopg

from sidecar.clock import Clock, Stop
from sidecar.errors import ConfigError, SidecarError
from sidecar.loop import backoff_seconds
from standalone_init.errors import TryAgain
from standalone_init.writers import memory as rows
from standalone_init.writers.model import (
    ALL_SUSPENDED,
    Memory,
    Remaining,
    Service,
    Sighting,
    Suspended,
    recalled,
)
from standalone_init.writers.sessions import Session

_POLL_FIRST_SECONDS = 0.25
_POLL_MAX_SECONDS = 5.0
_TELL_EVERY_SECONDS = 15.0
_NAMED = 10


class Services(Protocol):
    """The ECS API (see ``ecs.EcsWriters``)."""

    def look(self, services: Sequence[Service]) -> Mapping[Service, Sighting]:
        """Return those that exist and are active."""

    def remaining(self, services: Sequence[Service]) -> tuple[Remaining, ...]:
        """Return their tasks that have not ended."""

    def tag(self, sighting: Sighting, memory: Memory) -> None:
        """Let the service carry what is remembered."""

    def untag(self, sighting: Sighting) -> None:
        """Take that off."""

    def set_desired(self, service: Service, count: int) -> None:
        """Set the desired count."""


class Scaling(Protocol):
    """Application Auto Scaling (see ``scaling.ScalableTargets``)."""

    def look(self, services: Sequence[Service]) -> Mapping[Service, Suspended]:
        """Return those that are registered."""

    def suspend(self, service: Service, what: Suspended) -> None:
        """Suspend exactly this much."""


class Tell(Protocol):
    """Who is told."""

    def writer_stopped(self, memory: Memory) -> None:
        """A service's count was set to 0."""

    def writer_started(self, memory: Memory, *, found: int | None) -> None:
        """A service has its count again; ``found`` is what it was just before, None when it is gone."""

    def draining(self, remaining: Sequence[Remaining], waited_seconds: float) -> None:
        """Tasks are still ending."""

    def still_connected(self, sessions: Sequence[Session]) -> None:
        """All tasks have ended; these are still connected to the database."""


class Writers:
    """Stops and starts. Blocking; all of it idempotent.

    Args:
        services: that the settings name, in the order in which they are stopped.
        drain_seconds: how long their tasks may take to end.
        sessions: who is connected to the database.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        ecs: Services,
        scaling: Scaling,
        drain_seconds: float,
        sessions: Callable[[], Sequence[Session]],
        clock: Clock,
        stop: Stop,
        rng: random.Random,
        tell: Tell,
    ) -> None:
        self._services = tuple(services)
        self._ecs = ecs
        self._scaling = scaling
        self._drain_seconds = drain_seconds
        self._sessions = sessions
        self._clock = clock
        self._stop = stop
        self._rng = rng
        self._tell = tell

    def remembered(self, connection: psycopg.Connection[Any]) -> tuple[Memory, ...]:
        """Return what is remembered as stopped, by the database or by the services themselves.

        Raises:
            ConfigError: a service of the settings does not exist.
            SidecarError: AWS refused, or did not answer.
        """
        return recalled(rows.recall(connection), self._look().values())

    def stop(self, connection: psycopg.Connection[Any], *, position: str) -> None:
        """Remember all, then stop all, then wait until the last task has ended.

        Args:
            connection: the one that holds the lock.
            position: where the database is.

        Raises:
            TryAgain: tasks did not end in time, somebody starts them again, or told to stop.
            SidecarError: AWS refused, or did not answer.
        """
        sightings = self._look()
        known = {
            str(memory.service): memory for memory in recalled(rows.recall(connection), sightings.values())
        }
        targets = self._scaling.look(self._services)
        memories: list[Memory] = []
        for service, sighting in sightings.items():
            memory = known.get(str(service)) or Memory(
                service=service,
                desired=sighting.desired,
                suspended=targets.get(service),
                position=position,
            )
            rows.remember(connection, memory)
            if sighting.memory is None:
                self._ecs.tag(sighting, memory)
            memories.append(memory)
        for memory in memories:
            if memory.service in targets:
                self._scaling.suspend(memory.service, ALL_SUSPENDED)
            self._ecs.set_desired(memory.service, 0)
            self._tell.writer_stopped(memory)
        self._drain()

    def start(self, connection: psycopg.Connection[Any]) -> None:
        """Give every remembered service its count and its scaling, the last one first; forget it then.

        A service that somebody has started meanwhile keeps the count it was given.

        Raises:
            SidecarError: one of them could not be started; all others were.
        """
        memories = self.remembered(connection)
        sightings = self._ecs.look([memory.service for memory in memories])
        errors: list[SidecarError] = []
        for memory in reversed(memories):
            try:
                self._start(connection, memory, sightings.get(memory.service))
            except SidecarError as err:
                errors.append(err)
        if errors:
            raise errors[0]

    def _start(self, connection: psycopg.Connection[Any], memory: Memory, sighting: Sighting | None) -> None:
        if sighting is not None:
            if sighting.desired == 0 and memory.desired > 0:
                self._ecs.set_desired(memory.service, memory.desired)
            if memory.suspended is not None:
                self._scaling.suspend(memory.service, memory.suspended)
            self._ecs.untag(sighting)
        rows.forget(connection, memory.service)
        self._tell.writer_started(memory, found=None if sighting is None else sighting.desired)

    def _drain(self) -> None:
        started = self._clock.monotonic()
        told_at: float | None = None
        looks = 0
        while True:
            sightings = self._look()
            remaining = self._ecs.remaining(self._services)
            waited = self._clock.monotonic() - started
            _refuse_restarted(sightings.values())
            if not remaining and all(seen.running + seen.pending == 0 for seen in sightings.values()):
                break
            if waited > self._drain_seconds:
                raise self._not_drained(remaining, sightings)
            if told_at is None or waited - told_at >= _TELL_EVERY_SECONDS:
                self._tell.draining(remaining, waited)
                told_at = waited
            looks += 1
            pause = backoff_seconds(
                looks, base_seconds=_POLL_FIRST_SECONDS, cap_seconds=_POLL_MAX_SECONDS, rng=self._rng
            )
            if self._stop.wait_in_thread(pause):
                raise TryAgain(
                    "Stopped while the writers were ending",
                    why=f"{self._stop.reason} was received; {_listed(remaining)} had not ended",
                    remedy="Run again",
                )
        self._tell.still_connected(self._sessions())

    def _look(self) -> Mapping[Service, Sighting]:
        return look(self._ecs, self._services)

    def _not_drained(self, remaining: Sequence[Remaining], sightings: Mapping[Service, Sighting]) -> TryAgain:
        counted = [
            f"{service} has {seen.running} running and {seen.pending} pending"
            for service, seen in sightings.items()
            if seen.running + seen.pending
        ]
        connected = "; ".join(str(session) for session in self._sessions()[:_NAMED])
        return TryAgain(
            f"The writers did not end within {self._drain_seconds:g} s",
            why=f"{_listed(remaining) or ', '.join(counted)} still run"
            f"{f'; connected to the database: {connected}' if connected else ''}",
            remedy="Wait for their Airflow tasks to end, or raise STANDALONE_INIT_DRAIN_TIMEOUT_SECONDS",
        )


def look(ecs: Services, services: Sequence[Service]) -> Mapping[Service, Sighting]:
    """Return all of them, in this order.

    Raises:
        ConfigError: one of them does not exist.
        SidecarError: AWS refused, or did not answer.
    """
    sightings = ecs.look(services) if services else {}
    absent = [str(service) for service in services if service not in sightings]
    if absent:
        raise ConfigError(
            f"There is no active ECS service {', '.join(absent)}",
            why="ECS does not know it, or it is being deleted",
            remedy="Correct STANDALONE_INIT_STOP_SERVICES",
        )
    return {service: sightings[service] for service in services}


def _refuse_restarted(sightings: Iterable[Sighting]) -> None:
    restarted = [seen for seen in sightings if seen.desired > 0]
    if restarted:
        raise TryAgain(
            "Somebody starts the writers again",
            why=", ".join(f"{seen.service} was set from 0 to {seen.desired}" for seen in restarted),
            remedy="Pause what sets that count, a scaler or a deployment. worker_scaler's own service belongs"
            " into STANDALONE_INIT_STOP_SERVICES, before the services that it steers",
        )


def _listed(remaining: Sequence[Remaining]) -> str:
    more = len(remaining) - _NAMED
    return ", ".join(map(str, remaining[:_NAMED])) + (f" and {more} more" if more > 0 else "")
