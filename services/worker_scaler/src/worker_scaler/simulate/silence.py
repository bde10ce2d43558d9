"""The scaler's own telemetry in a simulation: it counts as ever, and logs nothing."""

from __future__ import annotations

from sidecar.clock import Clock
from sidecar.telemetry import Telemetry


class SilentTelemetry(Telemetry):
    """A registry of its own, and a logger that drops every line: two days have 17,000 ticks."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(service="worker-scaler", version="simulated", clock=clock)
        self.log = _Nothing()


class _Nothing:
    """A logger that says nothing."""

    def debug(self, event: str, **facts: object) -> None:
        """Say nothing."""

    info = warning = error = debug
