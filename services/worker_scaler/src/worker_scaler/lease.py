"""One writer: whoever holds the lease acts, every other copy stands by and takes over.

ECS takes no fencing token, so the fence is on our side: the lease is checked before every call that goes out,
and a call's own timeouts are shorter than what a successor waits.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sidecar.errors import Transient
from worker_scaler.agents import Answers
from worker_scaler.model import Sighting

if TYPE_CHECKING:
    from sidecar.errors import SidecarError
    from worker_scaler.agent import Order
    from worker_scaler.model import Fleet, Worker
    from worker_scaler.ports import Agents, Services
    from worker_scaler.steps import Refusal


class LeaseLostError(Transient):
    """The lease is not ours any more: nothing may be changed until it is again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How we stand to the lease.

    Attributes:
        only_adds: whether this copy, the writer until the lease's store fell silent, goes on with what is
            safe for two copies at a time: it protects and raises, and lets nobody go.
        holder: who has it, for people; "" when nobody knows.
        term: grows with every take-over where the store counts them; 0 where it does not.
    """

    is_writer: bool
    only_adds: bool = False
    holder: str = ""
    term: int = 0


class Lease(Protocol):
    """The right to act. Blocking, and safe to call from any thread."""

    def claim(self) -> Standing:
        """Take it when it is free, renew it when it is ours; say how we stand. At the begin of each tick.

        Raises:
            ConfigError: it can never be held this way.
            Transient: its store does not answer; until it does, nobody may act.
        """

    def check(self) -> None:
        """Raise LeaseLostError unless it is ours at this moment. Before each call that goes out."""

    def release(self) -> None:
        """Let go, so that a successor need not wait. Idempotent; raises nothing."""


class NoLease:
    """Implements :class:`Lease` where one copy is run by agreement: it is always ours."""

    def claim(self) -> Standing:
        """Say yes."""
        return Standing(is_writer=True)

    def check(self) -> None:
        """Say nothing."""

    def release(self) -> None:
        """Do nothing."""


class FencedServices:
    """Implements :class:`worker_scaler.ports.Services` for as long as the lease is ours.

    Once lost in the middle of a tick it stays lost until the next claim, so that a tick does not go on
    under a lease that came back. While its store is silent, who was the writer may be allowed to add only.
    """

    def __init__(self, services: Services, lease: Lease) -> None:
        self._services = services
        self._lease = lease
        self._lost = threading.Event()
        self._only_adds = threading.Event()
        self._desired: dict[str, int] = {}

    def claim(self) -> Standing:
        """Claim the lease for the tick that begins (see :class:`Lease`)."""
        self._only_adds.clear()
        standing = self._lease.claim()
        if standing.is_writer:
            self._lost.clear()
        return standing

    def allow_only_adding(self) -> None:
        """Until the next claim let through what two copies may do at a time: look, protect, raise."""
        self._only_adds.set()

    @property
    def only_adds(self) -> bool:
        """Whether it is so now."""
        return self._only_adds.is_set()

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting | SidecarError]:
        """Look (see the port)."""
        self._check_adding()
        found = self._services.look_all(fleets)
        self._desired |= {name: one.desired for name, one in found.items() if isinstance(one, Sighting)}
        return found

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Protect (see the port)."""
        self._check_adding()
        return self._services.protect(fleet, arns, minutes=minutes)

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Unprotect (see the port)."""
        self.check()
        return self._services.unprotect(fleet, arns)

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Set the count (see the port)."""
        if count > self._desired.get(fleet.name, count):
            self._check_adding()
        else:
            self.check()
        self._services.set_desired(fleet, count)

    def check(self) -> None:
        """Raise LeaseLostError unless the lease was ours through the whole tick, and is."""
        if self.only_adds:
            raise lease_lost("its store does not answer: until it does, workers are only added and protected")
        if self._lost.is_set():
            raise lease_lost("it was lost earlier in this tick")
        try:
            self._lease.check()
        except LeaseLostError:
            self._lost.set()
            raise

    def _check_adding(self) -> None:
        if not self.only_adds:
            self.check()


class FencedAgents:
    """Implements :class:`worker_scaler.ports.Agents` while the lease is ours: orders are acts too."""

    def __init__(self, agents: Agents, fence: FencedServices) -> None:
        self._agents = agents
        self._fence = fence

    def ask(self, fleet: Fleet, workers: Sequence[Worker]) -> Answers:
        """Ask, which keeps orders alive (see the port). While we only add nobody is asked: cordons lapse."""
        if self._fence.only_adds:
            return Answers()
        self._fence.check()
        return self._agents.ask(fleet, workers)

    def order(self, fleet: Fleet, workers: Sequence[Worker], order: Order) -> Answers:
        """Order (see the port)."""
        self._fence.check()
        return self._agents.order(fleet, workers, order)


def lease_lost(why: str) -> LeaseLostError:
    """Return the error that ends a tick."""
    return LeaseLostError(
        "This copy may not change anything",
        why=why,
        remedy="It stands by and tries again with the next tick; another copy may be at work",
    )
