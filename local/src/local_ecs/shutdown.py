"""End every task in good order when local_ecs itself is told to end."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

from local_ecs.api import Api
from local_ecs.clock import VirtualClock
from local_ecs.model import ServiceStatus

_KILL_SECONDS = 5.0  # from SIGKILL to the last exit being seen


async def shut_down(api: Api, *, grace_seconds: float, tick_seconds: float, force: asyncio.Event) -> None:
    """Tell all tasks to end and wait for them; what is left after ``grace_seconds`` is killed.

    Returns early when ``force`` is set: whatever still runs is then the runtime's to kill as it closes.
    Services start nothing any more, and requests are refused. Virtual tasks need no end: nothing of them
    runs.
    """
    api.is_closing = True
    engine = api.engine
    if isinstance(engine.clock, VirtualClock):
        return
    for key, service in list(engine.state.services.items()):
        engine.state.services[key] = replace(service, desired_count=0, status=ServiceStatus.DRAINING)
    now = engine.clock.now()
    for task_id in list(engine.state.live):
        engine.runtime.stop(task_id, now, grace_seconds=grace_seconds)
    give_up = now + timedelta(seconds=grace_seconds + _KILL_SECONDS)
    engine.tick()
    while engine.state.live and engine.clock.now() < give_up and not force.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(force.wait(), timeout=tick_seconds)
        engine.tick()
