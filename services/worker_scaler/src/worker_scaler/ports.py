"""What a cycle needs of the world: queue depth, ECS services, the workers' agents, what is foreseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from sidecar.errors import SidecarError
from worker_scaler.agent import Order
from worker_scaler.model import Fleet, Reading, Sighting, Worker
from worker_scaler.outlook import Outlook
from worker_scaler.steps import Refusal

if TYPE_CHECKING:
    from worker_scaler.agents import Answers


class Source(Protocol):
    """Where the queue depth is read. Blocking, and safe to call from any thread."""

    def read(self) -> Reading:
        """Return one consistent look at all queues.

        Raises:
            ConfigError: it can never be read this way.
            Transient: not now; a retry may help. It never returns a zero it did not read.
        """


class CrossCheck(Protocol):
    """A second source beside the first. Blocking. Raises nothing."""

    def __call__(self, reading: Reading | None) -> Reading | None:
        """Return the reading with the other's doubts in it; without one, an incomplete one or None."""


class Services(Protocol):
    """The ECS services of the fleets. Blocking, and safe to call from any thread.

    Each act raises ConfigError (no such service, no permission) or Transient (throttled, no answer, no
    request left in the budget; a retry may help), and each that changes something is idempotent.
    """

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting | SidecarError]:
        """Return, by fleet name, each service and its workers as they are now, or why they cannot be seen."""

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Protect at most 10 workers from scale-in, or renew it; return whom ECS refused."""

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Take the protection off at most 10 workers; return whom ECS refused."""

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Set the service's desired count."""


class Agents(Protocol):
    """The agents in a fleet's workers. Blocking. Who does not answer is among the failures."""

    def ask(self, fleet: Fleet, workers: Sequence[Worker]) -> Answers:
        """Return each worker's state, and keep the order alive that it was given last."""

    def order(self, fleet: Fleet, workers: Sequence[Worker], order: Order) -> Answers:
        """Give an order to these workers. Idempotent; it lapses by itself."""


class Forecast(Protocol):
    """What is foreseen of a fleet. Wrong or absent, it costs money or a wait, never a task."""

    def outlook(self, fleet: Fleet, sighting: Sighting, reading: Reading, *, now: datetime) -> Outlook:
        """Return what is expected. Raises nothing."""


class Pause(Protocol):
    """Whether a person told the scaler to keep its hands off."""

    def covers(self, fleet: Fleet) -> bool:
        """Whether this fleet is paused now."""
