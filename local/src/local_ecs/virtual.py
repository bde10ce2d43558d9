"""An ECS in this very process whose time the caller owns: for simulations and fast tests.

ecs = VirtualEcs(seed=7, rules=Rules(start_delay=StartDelay(median_seconds=60, sigma=0.3)))
ecs.call("CreateCluster", clusterName="main")
...
ecs.advance(90)
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from local_ecs.api import Api
from local_ecs.clock import A_DAY, VirtualClock
from local_ecs.engine import Engine
from local_ecs.model import JsonObject, Rules
from local_ecs.runtimes.virtual import SIGKILL_EXIT_CODE, VirtualRuntime
from local_ecs.state import short_name
from local_ecs.throttle import Throttle


def advance(engine: Engine, clock: VirtualClock, seconds: float) -> None:
    """Let ``seconds`` pass, stopping at each moment at which something happens."""
    end = clock.now() + timedelta(seconds=seconds)
    engine.tick()
    while (due := engine.next_due()) is not None and due <= end:
        clock.move_to(due)
        engine.tick()
    clock.move_to(end)
    engine.tick()


class VirtualEcs:
    """The API, without HTTP, on virtual time. The same seed and the same calls give the same run."""

    def __init__(
        self,
        *,
        seed: int,
        rules: Rules | None = None,
        stop_seconds: float = 0.0,
        start: datetime = A_DAY,
        throttle: Throttle | None = None,
    ) -> None:
        self.clock = VirtualClock(start)
        self.runtime = VirtualRuntime(stop_seconds=stop_seconds)
        dice = random.Random(seed)  # noqa: S311 - chance that can be repeated, nothing secret
        self.engine = Engine(runtime=self.runtime, clock=self.clock, dice=dice, rules=rules or Rules())
        self.api = Api(self.engine, throttle=throttle)

    def call(self, action: str, **members: Any) -> JsonObject:
        """Answer one request, with boto3's member names; timestamps are epoch seconds.

        Raises:
            ApiError: the error that boto3 would raise as ``client.exceptions.<code>``.
        """
        return self.api.call(action, members)

    def now(self) -> datetime:
        """Return the virtual time."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        advance(self.engine, self.clock, seconds)

    def exit_task(self, task: str, exit_code: int = SIGKILL_EXIT_CODE) -> None:
        """Let a task (id or ARN) end by itself, now."""
        self.runtime.exit(short_name(task), exit_code)
        self.engine.tick()

    def interrupt(self, task: str) -> None:
        """End a task (id or ARN) as a Spot interruption does."""
        self.engine.interrupt(self.engine.state.live[short_name(task)])
        self.engine.tick()
