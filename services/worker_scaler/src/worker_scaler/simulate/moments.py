"""The simulation counts seconds, the scaler knows moments."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker_scaler.simulate.world import World

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_NEVER_SECONDS = 1e9


def moment(seconds: float) -> datetime:
    """Return a moment of the simulation as the scaler knows it."""
    return BEGIN + timedelta(seconds=min(seconds, _NEVER_SECONDS))


class SimulatedClock:
    """Implements the chassis' ``Clock`` on a world. It stands still while the scaler thinks."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        """Return the virtual time."""
        return moment(self._world.now)

    def monotonic(self) -> float:
        """Return the virtual seconds."""
        return self._world.now

    async def wait(self, seconds: float, event: asyncio.Event) -> bool:
        """Return at once: nobody may wait in a tick of virtual time."""
        del seconds
        return event.is_set()
