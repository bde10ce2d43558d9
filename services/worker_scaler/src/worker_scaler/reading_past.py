"""Reads Airflow's past beside the ticks, so that a slow answer never delays one.

The whole history every few minutes, the runs to come every minute. Without it decisions go on exact and
without predictions; that is told once, and again when it works.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.errors import SidecarError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.app import Runtime
    from worker_scaler.events import Events
    from worker_scaler.forecaster import Forecaster

HISTORY_SECONDS = 600.0
NEXT_RUNS_SECONDS = 60.0


async def beside(
    work: Callable[[], Awaitable[None]], forecaster: Forecaster, runtime: Runtime, events: Events
) -> None:
    """Do ``work`` while the past is read; end when it ends, and raise what it raises."""
    done = asyncio.Event()

    async def main_work() -> SidecarError | None:
        try:
            await work()
        except SidecarError as err:
            return err
        finally:
            done.set()
        return None

    async with asyncio.TaskGroup() as group:
        main = group.create_task(main_work())
        group.create_task(_keep_reading(forecaster, runtime, events, done))
    failure = main.result()
    if failure is not None:
        raise failure


async def _keep_reading(
    forecaster: Forecaster, runtime: Runtime, events: Events, done: asyncio.Event
) -> None:
    rounds = round(HISTORY_SECONDS / NEXT_RUNS_SECONDS)
    turn = 0
    while not done.is_set():
        read = forecaster.read_history if turn % rounds == 0 else forecaster.read_next_runs
        try:
            await asyncio.to_thread(read)
        except SidecarError as err:
            events.history_failed(err)
            turn = 0  # the whole history is due, whatever failed
        else:
            events.history_read()
            turn += 1
        await runtime.clock.wait(NEXT_RUNS_SECONDS, done)
