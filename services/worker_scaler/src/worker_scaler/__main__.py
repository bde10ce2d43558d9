"""The ``worker-scaler`` command: how the scaler is put together."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from sidecar import cli
from sidecar.app import Finding, Runtime, Sidecar
from sidecar.loop import Pace
from worker_scaler.commands import GRANT_SQL, TRACE
from worker_scaler.cycle import Cycle
from worker_scaler.doctor import Doctor
from worker_scaler.dry_run import DryRunServices
from worker_scaler.ecs import EcsServices
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.settings import WorkerScalerSettings
from worker_scaler.sources.build import database_of
from worker_scaler.sources.database import DatabaseSource

# ECS answers in well under a second; a tick that waits longer is worth less than the next one.
_READ_TIMEOUT_SECONDS = 5.0
_TICK_DEADLINE_SECONDS = 60.0


class WorkerScaler:
    """The program the chassis runs."""

    def __init__(self, settings: WorkerScalerSettings, runtime: Runtime) -> None:
        fleets = [settings.fleet(given) for given in settings.fleets]
        config = runtime.aws.config(read_timeout_seconds=_READ_TIMEOUT_SECONDS)
        services = EcsServices(runtime.aws.session.client("ecs", config=config))
        events = Events(runtime.telemetry, (fleet.name for fleet in fleets))
        source = DatabaseSource(
            database_of(settings, runtime),
            statement_timeout_seconds=settings.statement_timeout_seconds,
            meaning=settings.meaning(),
            clock=runtime.clock,
            tell_blind_spots=events.blind_spots,
        )
        dry_run = settings.dry_run or runtime.dry_run
        explanations = Explanations(dry_run=dry_run)
        runtime.route("/explain", explanations.answer)
        self._runtime = runtime
        self._interval_seconds = settings.interval_seconds
        self._doctor = Doctor(fleets=fleets, services=services, source=source, aws=runtime.aws)
        self._cycle = Cycle(
            fleets=fleets,
            services=DryRunServices(services, runtime.clock) if dry_run else services,
            source=source,
            clock=runtime.clock,
            events=events,
            explanations=explanations,
            rng=runtime.rng,
        )

    async def run(self) -> int:
        """Steer the fleets until told to stop."""
        pace = Pace(
            period_seconds=self._interval_seconds,
            deadline_seconds=_TICK_DEADLINE_SECONDS,
            # One failing fleet must not slow down the others: after a failure the period is kept.
            backoff_max_seconds=self._interval_seconds,
        )
        await self._runtime.every(pace, self._cycle.tick)
        return 0

    async def once(self) -> int:
        """Steer each fleet once. A scale-in needs two ticks of one process, so this never scales in."""
        await self._cycle.tick()
        return 0

    def check(self) -> AsyncIterator[Finding]:
        """Look at permissions and reachability, changing nothing."""
        return self._doctor.findings()


SIDECAR = Sidecar(
    name="worker-scaler",
    summary="Sets the desired count of Celery-worker ECS services from Airflow's queue depth.",
    settings=WorkerScalerSettings,
    wire=WorkerScaler,
    commands=(GRANT_SQL, TRACE),
    can_dry_run=True,
)


def main() -> int:
    """Run the command line."""
    return cli.main(SIDECAR)


if __name__ == "__main__":
    sys.exit(main())
