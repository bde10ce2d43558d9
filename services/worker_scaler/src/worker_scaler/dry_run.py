"""The fleets' services when nothing may be changed: looks are real, acts are only remembered.

The remembered acts are laid over the next look, so a dry run goes on to decide what it would decide next,
instead of the same thing for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sidecar.errors import SidecarError
from worker_scaler.model import Fleet, Phase, Sighting, Worker
from worker_scaler.steps import Refusal

if TYPE_CHECKING:
    from sidecar.clock import Clock
    from worker_scaler.ports import Services


class DryRunServices:
    """Implements :class:`worker_scaler.ports.Services` without changing anything.

    Args:
        real: where to look.
        clock: tells when a pretended protection ends.
    """

    def __init__(self, real: Services, clock: Clock) -> None:
        self._real = real
        self._clock = clock
        self._protected_until: dict[str, datetime | None] = {}
        self._desired: dict[str, tuple[int, int]] = {}
        self._seen: dict[str, int] = {}

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting | SidecarError]:
        """Return the real services with the pretended acts laid over them.

        A pretended count holds until somebody really changes the count.
        """
        real = self._real.look_all(fleets)
        return {
            fleet.name: found
            if isinstance(found := real[fleet.name], SidecarError)
            else self._over(fleet, found)
            for fleet in fleets
        }

    def _over(self, fleet: Fleet, real: Sighting) -> Sighting:
        self._seen[fleet.name] = real.desired
        pretended, when_it_was = self._desired.get(fleet.name, (real.desired, real.desired))
        return replace(
            real,
            desired=pretended if when_it_was == real.desired else real.desired,
            workers=tuple(self._overlaid(worker) for worker in real.workers),
        )

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Remember these as protected."""
        del fleet  # an ARN says it all
        until = self._clock.now() + timedelta(minutes=minutes)
        self._protected_until |= dict.fromkeys(arns, until)
        return ()

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Remember these as unprotected."""
        del fleet
        self._protected_until |= dict.fromkeys(arns)
        return ()

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Remember the count."""
        self._desired[fleet.name] = (count, self._seen.get(fleet.name, count))

    def _overlaid(self, worker: Worker) -> Worker:
        if worker.phase is not Phase.RUNNING or worker.arn not in self._protected_until:
            return worker
        return replace(worker, protected_until=self._protected_until[worker.arn])
