"""One tick: look at all services and agents, read the queues, decide for each fleet, act, tell.

The services are looked at first and the queues read last, so that the proof of idleness is the youngest fact.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sidecar.clock import Clock
from sidecar.errors import ConfigError, SidecarError, Transient
from worker_scaler.budget import Budget
from worker_scaler.calls import Calls
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.losses import Losses
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, Phase, Reading, Sighting, Worker
from worker_scaler.outlook import NOTHING_EXPECTED, Outlook
from worker_scaler.policies import Case, Policy
from worker_scaler.policies.queue import QueuePolicy
from worker_scaler.ports import Agents, CrossCheck, Forecast, Pause, Services, Source
from worker_scaler.steps import Give, Protect, SetDesired, Step, lets_go, only_adds

T = TypeVar("T")

_SLOW_CALL_SECONDS = 2.0
"""ECS answers in well under a second, also when it refuses: a failure that took longer is a timeout."""


class Cycle:
    """Steers all fleets, each on its own: one that fails does not hold up the others.

    Args:
        policies: by fleet name; a fleet that is absent follows its queues.
        agents: for the fleets that have some; None when none has.
        forecast: what is foreseen; None is nothing.
        pause: whether a person stopped the scaler; None is never.
        budget: whose spending is told; None is not counted.
        crosscheck: puts a second source's doubts into each reading; None is no second source.
        rng: spreads pauses after failing starts.
    """

    def __init__(
        self,
        *,
        fleets: Sequence[Fleet],
        services: Services,
        source: Source,
        clock: Clock,
        events: Events,
        explanations: Explanations,
        rng: random.Random,
        policies: Mapping[str, Policy] | None = None,
        agents: Agents | None = None,
        forecast: Forecast | None = None,
        pause: Pause | None = None,
        budget: Budget | None = None,
        crosscheck: CrossCheck | None = None,
    ) -> None:
        self._fleets = fleets
        self._services = services
        self._source = source
        self._clock = clock
        self._events = events
        self._explanations = explanations
        self._rng = rng
        self._policies = policies or {}
        self._agents = agents
        self._forecast = forecast
        self._pause = pause
        self._budget = budget
        self._crosscheck = crosscheck
        self._calls = Calls()
        self._looked_at = clock.now()
        self._default_policy = QueuePolicy()
        self._losses = {fleet.name: Losses() for fleet in fleets}
        self.forget()

    def forget(self) -> None:
        """Forget what was seen: somebody else has been at work since. It is merely more careful then."""
        self._memories = {fleet.name: Memory() for fleet in self._fleets}
        for losses in self._losses.values():
            losses.forget()

    async def tick(self) -> None:
        """Steer every fleet once.

        Raises:
            ConfigError: the source or a service does not exist or is not allowed.
            Transient: one of them did not answer; the other fleets were steered all the same. Or a call of
                the last tick has not returned; then nothing was done.
        """
        self._calls.refuse_to_overlap()
        seen = await self._calls.run(self._services.look_all, self._fleets)
        self._looked_at = self._clock.now()
        looks = await _all([self._with_agents(fleet, seen[fleet.name]) for fleet in self._fleets])
        reading, failure = await self._read()
        failures = await _all(
            [self._steer(fleet, look, reading) for fleet, look in zip(self._fleets, looks, strict=True)]
        )
        worst = _worst([failure, *failures])
        for fleet, error in zip(self._fleets, failures, strict=True):
            if error is not None:
                self._events.failed(fleet, error, is_raised=error is worst)
        if self._budget is not None:
            self._events.requests(self._budget.spent, self._budget.deferred)
        if worst is not None:
            raise worst

    async def _read(self) -> tuple[Reading | None, SidecarError | None]:
        if not any(self._policy(fleet).needs_reading for fleet in self._fleets):
            return None, None
        reading, failure = await self._calls.run(_try_read, self._source)
        if self._crosscheck is not None:
            reading, doubtful = await self._calls.run(_try_compare, self._crosscheck, reading)
            failure = failure or doubtful
        if reading is not None and reading.is_complete:
            queues = [queue for fleet in self._fleets for queue in fleet.queues]
            orphans = reading.orphans(queues)
            self._events.orphans(orphans)
            self._explanations.orphans(orphans)
        return reading, failure

    async def _with_agents(self, fleet: Fleet, look: Sighting | SidecarError) -> Sighting | SidecarError:
        """Add what the fleet's agents say to what ECS says."""
        if isinstance(look, SidecarError) or self._agents is None or fleet.agent_port is None:
            return look
        running = [worker for worker in look.workers if worker.phase is Phase.RUNNING]
        answers = await self._calls.run(self._agents.ask, fleet, running)
        self._events.agents(fleet, answers)
        states = answers.states
        workers = tuple(
            replace(worker, agent=states[worker.arn]) if worker.arn in states else worker
            for worker in look.workers
        )
        return replace(look, workers=workers)

    async def _steer(
        self, fleet: Fleet, look: Sighting | SidecarError, reading: Reading | None
    ) -> SidecarError | None:
        if isinstance(look, SidecarError):
            return self._failed(fleet, look)
        try:
            return await self._steer_seen(fleet, look, reading)
        except Exception as err:  # noqa: BLE001 - whatever is odd about one fleet must not stop the others
            return self._failed(fleet, _unexpected(f"Fleet {fleet.name!r} could not be steered", err))

    async def _steer_seen(self, fleet: Fleet, look: Sighting, reading: Reading | None) -> SidecarError | None:
        case = self._case(fleet, look, reading)
        decision = self._policy(fleet).decide(case)
        self._memories[fleet.name] = decision.memory
        self._events.deaths(fleet, self._losses[fleet.name].count(look, decision.occupancy))
        self._events.decided(fleet, decision)
        self._explanations.decided(case, decision)
        proven_at = None
        if reading is not None and self._policy(fleet).needs_reading:
            proven_at = min(reading.taken_at, self._looked_at)
        failure = await self._act(fleet, look.workers, decision.steps, proven_at=proven_at)
        if failure is not None:
            return self._failed(fleet, failure)
        self._events.recovered(fleet)
        return None

    def _case(self, fleet: Fleet, look: Sighting, reading: Reading | None) -> Case:
        now = self._clock.now()
        return Case(
            fleet=fleet,
            sighting=look,
            reading=reading,
            memory=self._memories[fleet.name],
            outlook=self._outlook(fleet, look, reading),
            now=now,
            is_paused=self._pause is not None and self._pause.covers(fleet),
            chance=self._rng.random(),
        )

    def _outlook(self, fleet: Fleet, look: Sighting, reading: Reading | None) -> Outlook:
        if self._forecast is None or reading is None:
            return NOTHING_EXPECTED
        return self._forecast.outlook(fleet, look, reading, now=self._clock.now())

    def _policy(self, fleet: Fleet) -> Policy:
        return self._policies.get(fleet.name, self._default_policy)

    async def _act(
        self, fleet: Fleet, workers: Sequence[Worker], steps: Sequence[Step], *, proven_at: datetime | None
    ) -> SidecarError | None:
        """Do the steps in order. After a failure only those are done that add safety or capacity.

        Calls may take long. One kind of them that timed out once is left for the next tick, and nobody is let
        go any more when what proved it (``proven_at``; None needs no proof) has grown old meanwhile.
        """
        failure: SidecarError | None = None
        timed_out: set[type[Step]] = set()
        for step in steps:
            if type(step) in timed_out or (failure is not None and not only_adds(step)):
                continue
            began = self._clock.monotonic()
            try:
                if lets_go(step) and proven_at is not None:
                    _refuse_old_proof(self._clock.now() - proven_at, fleet.proof_max_age)
                await self._calls.run(self._do, fleet, workers, step)
            except SidecarError as err:
                failure = failure or err
                if self._clock.monotonic() - began >= _SLOW_CALL_SECONDS:
                    timed_out.add(type(step))
        return failure

    def _do(self, fleet: Fleet, workers: Sequence[Worker], step: Step) -> None:
        if isinstance(step, SetDesired):
            self._services.set_desired(fleet, step.count)
        elif isinstance(step, Protect):
            self._events.refused(fleet, self._services.protect(fleet, step.arns, minutes=step.minutes))
        elif isinstance(step, Give):
            if self._agents is not None:
                named = frozenset(step.arns)
                self._agents.order(fleet, [one for one in workers if one.arn in named], step.order)
        else:
            self._events.refused(fleet, self._services.unprotect(fleet, step.arns))

    def _failed(self, fleet: Fleet, error: SidecarError) -> SidecarError:
        self._explanations.failed(fleet.name, error)
        return error


def _refuse_old_proof(age: timedelta, limit: timedelta) -> None:
    if abs(age) > limit:
        raise Transient(
            "Nobody is let go in this tick any more",
            why=f"it took so long that what proved workers idle is {abs(age).total_seconds():.0f} s old",
            remedy="The next tick looks again; see why ECS or the database is slow if it lasts",
        )


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
    return [task.result() for task in tasks]


def _try_read(source: Source) -> tuple[Reading | None, SidecarError | None]:
    try:
        return source.read(), None
    except SidecarError as err:
        return None, err
    except Exception as err:  # noqa: BLE001 - an answer nobody thought of is no reading, and no end of the tick
        return None, _unexpected("The queues could not be read", err)


def _try_compare(
    crosscheck: CrossCheck, reading: Reading | None
) -> tuple[Reading | None, SidecarError | None]:
    try:
        return crosscheck(reading), None
    except Exception as err:  # noqa: BLE001 - without the second source's word only more is believed
        only_more = replace(reading, is_complete=False) if reading is not None else None
        return only_more, _unexpected("The queues could not be compared with SQS", err)


def _unexpected(what: str, error: Exception) -> Transient:
    """Turn what nobody thought of into the failure of one part."""
    failure = Transient(
        what,
        why=f"{type(error).__name__}: {str(error)[:200]}",
        remedy="It is tried again with the next tick; this is an answer or a setting that nobody expected, "
        "please report it",
    )
    failure.__cause__ = error
    return failure


def _worst(failures: Sequence[SidecarError | None]) -> SidecarError | None:
    """Return what a person must act on first: a wrong configuration before a weak moment."""
    found = [failure for failure in failures if failure is not None]
    return min(found, key=lambda err: not isinstance(err, ConfigError), default=None)
