"""A tick under the lease: the writer steers, every other copy stands by and says so.

The lease may live in the very database that is read. When its store falls silent, protections would run out
and messages would pile up, so who was the writer until then goes on with what two copies may do at a time:
it protects, and it raises counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sidecar.errors import SidecarError, Transient
from worker_scaler.calls import Calls
from worker_scaler.lease import Standing

if TYPE_CHECKING:
    from worker_scaler.events import Events
    from worker_scaler.explain import Explanations
    from worker_scaler.lease import FencedServices


_NOBODY = Standing(is_writer=False)
_ADDING = Standing(is_writer=False, only_adds=True)


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
        self._standing = _NOBODY

    async def tick(self) -> None:
        """Steer, or stand by.

        Raises:
            Transient: the lease's store does not answer, so who was the writer only adds, and everybody else
                does nothing; or as the steering raises.
        """
        self._calls.refuse_to_overlap()
        before, self._standing = self._standing, _NOBODY
        try:
            self._standing = await self._calls.run(self._fence.claim)
        except Transient as silent:
            if before.is_writer or before.only_adds:
                await self._go_on_adding(silent)
            raise
        finally:
            if not (self._standing.only_adds or (self._standing.is_writer and before.is_writer)):
                self._steering.forget()
            self._tell(self._standing)
        if self._standing.is_writer:
            await self._steering.tick()

    async def _go_on_adding(self, silent: Transient) -> None:
        self._standing = _ADDING
        self._tell(_ADDING)
        self._fence.allow_only_adding()
        try:
            await self._steering.tick()
        except SidecarError as err:
            raise silent from err  # what was refused follows from it; the rest comes again

    def _tell(self, standing: Standing) -> None:
        self._events.standing(standing)
        self._explanations.standing(standing)
