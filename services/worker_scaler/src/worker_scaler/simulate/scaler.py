"""The scaler itself as the controller of a simulated world: its own cycle, tick by tick, on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from worker_scaler.cycle import Cycle
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.forecaster import Forecaster
from worker_scaler.model import Fleet
from worker_scaler.simulate.moments import SimulatedClock
from worker_scaler.simulate.past import SimulatedPast
from worker_scaler.simulate.ports import SimulatedAgents, SimulatedServices, SimulatedSource
from worker_scaler.simulate.silence import SilentTelemetry
from worker_scaler.simulate.world import World

P = ParamSpec("P")
T = TypeVar("T")

HISTORY_SECONDS = 60.0  # the real one reads the next runs every minute, and durations every few minutes


class ScalerController:
    """Runs :class:`worker_scaler.cycle.Cycle`, unchanged, against a world.

    Args:
        fleet: the policy.
        world: where its services, agents, source and past are.
        seed: of the scaler's own chance.
    """

    def __init__(self, fleet: Fleet, world: World, seed: int) -> None:
        self.has_agents = fleet.agent_port is not None
        self._forecaster = Forecaster(SimulatedPast(world), tick=timedelta(seconds=world.terms.tick_seconds))
        self._history_due = 0.0
        clock = SimulatedClock(world)
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(InlineExecutor(max_workers=1))
        self._cycle = Cycle(
            fleets=[fleet],
            services=SimulatedServices(world),
            source=SimulatedSource(world),
            agents=SimulatedAgents(world),
            forecast=self._forecaster,
            clock=clock,
            events=Events(SilentTelemetry(clock), [fleet.name]),
            explanations=Explanations(dry_run=False),
            rng=random.Random(seed),  # noqa: S311 - chance that can be repeated, nothing secret
        )

    def tick(self, world: World) -> None:
        """Let the scaler tick once."""
        if world.now >= self._history_due:
            self._history_due = world.now + HISTORY_SECONDS
            self._forecaster.read_history()
        self._loop.run_until_complete(self._cycle.tick())

    def close(self) -> None:
        """End the event loop."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class InlineExecutor(ThreadPoolExecutor):
    """Runs what it is given in the caller's thread: no thread may see a world that stands still."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as err:  # noqa: BLE001 - an executor hands every error to who waits for the future
            future.set_exception(err)
        return future
