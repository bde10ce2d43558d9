"""What a cycle needs of the world: where the queue depth comes from, and the ECS services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from worker_scaler.model import Fleet, Reading, Sighting
from worker_scaler.steps import Refusal


class Source(Protocol):
    """Where the queue depth is read. Blocking, and safe to call from any thread."""

    def read(self) -> Reading:
        """Return one consistent look at all queues.

        Raises:
            ConfigError: it can never be read this way.
            Transient: not now; a retry may help. It never returns a zero it did not read.
        """


class Services(Protocol):
    """The ECS services of the fleets. Blocking, and safe to call from any thread.

    Each method raises ConfigError (no such service, no permission) or Transient (throttled, no answer; a
    retry may help), and each that changes something is idempotent.
    """

    def look(self, fleet: Fleet) -> Sighting:
        """Return the service and all its workers as they are now."""

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Protect at most 10 workers from scale-in, or renew it; return whom ECS refused."""

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Take the protection off at most 10 workers; return whom ECS refused."""

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Set the service's desired count."""
