"""A tick under the lease: the writer steers, every other copy stands by and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from worker_scaler.calls import Calls

if TYPE_CHECKING:
    from worker_scaler.events import Events
    from worker_scaler.explain import Explanations
    from worker_scaler.lease import FencedServices, Standing


class Steering(Protocol):
    """What is done by the writer: :class:`worker_scaler.cycle.Cycle`."""

    async def tick(self) -> None:
        """Steer every fleet once."""

    def forget(self) -> None:
        """Forget what was seen: somebody else has been at work since."""


class OneWriter:
    """Claims the lease at the begin of each tick, and does the tick only as its holder.

    Args:
        fence: checks the lease before each call that goes out.
        steering: what is done under it.
    """

    def __init__(
        self, *, fence: FencedServices, steering: Steering, events: Events, explanations: Explanations
    ) -> None:
        self._fence = fence
        self._steering = steering
        self._events = events
        self._explanations = explanations
        self._calls = Calls()
        self._was_writer = False

    async def tick(self) -> None:
        """Steer, or stand by.

        Raises:
            Transient: the lease's store does not answer, so nobody may act; or as the steering raises.
        """
        self._calls.refuse_to_overlap()
        is_writer = False
        try:
            standing = await self._calls.run(self._fence.claim)
            is_writer = standing.is_writer
        finally:
            if not (is_writer and self._was_writer):
                self._steering.forget()
            self._was_writer = is_writer
        self._tell(standing)
        if is_writer:
            await self._steering.tick()

    def _tell(self, standing: Standing) -> None:
        self._events.standing(standing)
        self._explanations.standing(standing)
