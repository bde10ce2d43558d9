"""One tick: look at all services, read the queues, decide for each fleet, act, tell.

The services are looked at first and the queues read last, so that the proof of idleness is the youngest fact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from sidecar.clock import Clock
from sidecar.errors import ConfigError, SidecarError
from worker_scaler.calls import Calls
from worker_scaler.decide import decide
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.losses import Losses
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, Reading, Sighting
from worker_scaler.ports import Services, Source
from worker_scaler.steps import Protect, SetDesired, Step, only_adds

T = TypeVar("T")


class Cycle:
    """Steers all fleets, each on its own: one that fails does not hold up the others."""

    def __init__(
        self,
        *,
        fleets: Sequence[Fleet],
        services: Services,
        source: Source,
        clock: Clock,
        events: Events,
        explanations: Explanations,
    ) -> None:
        self._fleets = fleets
        self._services = services
        self._source = source
        self._clock = clock
        self._events = events
        self._explanations = explanations
        self._calls = Calls()
        self._memories = {fleet.name: Memory() for fleet in fleets}
        self._losses = {fleet.name: Losses() for fleet in fleets}

    async def tick(self) -> None:
        """Steer every fleet once.

        Raises:
            ConfigError: the source or a service does not exist or is not allowed.
            Transient: one of them did not answer; the other fleets were steered all the same. Or a call of
                the last tick has not returned; then nothing was done.
        """
        self._calls.refuse_to_overlap()
        looks = await _all([self._calls.run(_try_look, self._services, fleet) for fleet in self._fleets])
        reading, failure = await self._calls.run(_try_read, self._source)
        if reading is not None:
            self._tell_orphans(reading)
        failures = await _all(
            [self._steer(fleet, look, reading) for fleet, look in zip(self._fleets, looks, strict=True)]
        )
        worst = _worst([failure, *failures])
        for fleet, error in zip(self._fleets, failures, strict=True):
            if error is not None:
                self._events.failed(fleet, error, is_raised=error is worst)
        if worst is not None:
            raise worst

    def _tell_orphans(self, reading: Reading) -> None:
        orphans = reading.orphans(queue for fleet in self._fleets for queue in fleet.queues)
        self._events.orphans(orphans)
        self._explanations.orphans(orphans)

    async def _steer(
        self, fleet: Fleet, look: Sighting | SidecarError, reading: Reading | None
    ) -> SidecarError | None:
        if isinstance(look, SidecarError):
            return self._failed(fleet, look)
        decision = decide(fleet, look, reading, self._memories[fleet.name], now=self._clock.now())
        self._memories[fleet.name] = decision.memory
        self._events.lost(fleet, self._losses[fleet.name].count(look, decision.occupancy))
        self._events.decided(fleet, decision)
        self._explanations.decided(fleet, decision, at=self._clock.now())
        failure = await self._act(fleet, decision.steps)
        if failure is not None:
            return self._failed(fleet, failure)
        self._events.recovered(fleet)
        return None

    async def _act(self, fleet: Fleet, steps: Sequence[Step]) -> SidecarError | None:
        """Do the steps in order. After a failure only those are done that add safety or capacity."""
        failure: SidecarError | None = None
        for step in steps:
            if failure is not None and not only_adds(step):
                continue
            try:
                await self._calls.run(self._do, fleet, step)
            except SidecarError as err:
                failure = failure or err
        return failure

    def _do(self, fleet: Fleet, step: Step) -> None:
        if isinstance(step, SetDesired):
            self._services.set_desired(fleet, step.count)
        elif isinstance(step, Protect):
            self._events.refused(fleet, self._services.protect(fleet, step.arns, minutes=step.minutes))
        else:
            self._events.refused(fleet, self._services.unprotect(fleet, step.arns))

    def _failed(self, fleet: Fleet, error: SidecarError) -> SidecarError:
        self._explanations.failed(fleet, error)
        return error


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]


def _try_look(services: Services, fleet: Fleet) -> Sighting | SidecarError:
    try:
        return services.look(fleet)
    except SidecarError as err:
        return err


def _try_read(source: Source) -> tuple[Reading | None, SidecarError | None]:
    try:
        return source.read(), None
    except SidecarError as err:
        return None, err


def _worst(failures: Sequence[SidecarError | None]) -> SidecarError | None:
    """Return what a person must act on first: a wrong configuration before a weak moment."""
    found = [failure for failure in failures if failure is not None]
    return min(found, key=lambda err: not isinstance(err, ConfigError), default=None)
