"""The ``worker-scaler`` command: how the scaler is put together."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from sidecar import cli
from sidecar.app import Finding, Runtime, Sidecar
from sidecar.loop import Pace
from sidecar.secrets import Secret
from worker_scaler.agents import DryRunAgents, HttpAgents
from worker_scaler.budget import Budget
from worker_scaler.checks.may_update import MayUpdate
from worker_scaler.checks.service import ServiceCheck
from worker_scaler.commands import GRANT_SQL, TRACE
from worker_scaler.cycle import Cycle
from worker_scaler.doctor import Doctor
from worker_scaler.dry_run import DryRunServices
from worker_scaler.ecs import EcsServices
from worker_scaler.events import Events
from worker_scaler.explain import Explanations
from worker_scaler.explain_command import EXPLAIN
from worker_scaler.forecaster import Forecaster
from worker_scaler.lease import FencedAgents, FencedServices
from worker_scaler.one_writer import OneWriter
from worker_scaler.owners import ScalableTargets, UnownedServices
from worker_scaler.pause import PauseSwitch
from worker_scaler.reading_past import beside
from worker_scaler.settings import WorkerScalerSettings
from worker_scaler.simulate import command as simulate
from worker_scaler.sources.build import (
    crosscheck_of,
    database_of,
    forecaster_of,
    lease_of,
    queues_of,
    source_of,
)
from worker_scaler.sources.events import SourceEvents

# ECS answers in well under a second; a tick that waits longer is worth less than the next one. What changes
# something is tried once: with its 3 s to connect it ends within dynamodb_lease.CALL_SECONDS.
_READ_TIMEOUT_SECONDS = 5.0
_OWNER_READ_TIMEOUT_SECONDS = 2.0  # without a route to Application Auto Scaling no tick shall wait long
_TICK_DEADLINE_SECONDS = 60.0


class WorkerScaler:
    """The program the chassis runs."""

    def __init__(self, settings: WorkerScalerSettings, runtime: Runtime) -> None:
        fleets = [settings.fleet(given) for given in settings.fleets]
        config = runtime.aws.config(read_timeout_seconds=_READ_TIMEOUT_SECONDS)
        budget = Budget(runtime.clock)
        client = runtime.aws.session.client("ecs", config=config)
        once = runtime.aws.config(read_timeout_seconds=_READ_TIMEOUT_SECONDS, attempts=1)
        services = EcsServices(client, budget, writer=runtime.aws.session.client("ecs", config=once))
        hasty = runtime.aws.config(read_timeout_seconds=_OWNER_READ_TIMEOUT_SECONDS, attempts=1)
        targets = ScalableTargets(runtime.aws.session.client("application-autoscaling", config=hasty))
        unowned = UnownedServices(services, targets, runtime.clock)
        events = Events(runtime.telemetry, (fleet.name for fleet in fleets))
        source_events = SourceEvents(runtime.telemetry)
        source = source_of(settings, runtime, source_events)
        self._lease = lease_of(settings, runtime)
        dry_run = settings.dry_run or runtime.dry_run
        explanations = Explanations(dry_run=dry_run)
        runtime.route("/explain", explanations.answer)
        runtime.route("/explain/replay", explanations.replay)
        agents = HttpAgents(_agent_token(settings, runtime))
        self._runtime = runtime
        self._events = events
        self._forecaster: Forecaster | None = forecaster_of(settings, runtime)
        self._interval_seconds = settings.interval_seconds
        self._doctor = Doctor(
            settings=settings,
            fleets=fleets,
            services=ServiceCheck(services, client, targets, MayUpdate(runtime.aws)),
            source=source,
            database=database_of(settings, runtime) if settings.has_database else None,
            lease=self._lease,
            queues=queues_of(settings, runtime),
        )
        fence = FencedServices(DryRunServices(unowned, runtime.clock) if dry_run else unowned, self._lease)
        cycle = Cycle(
            fleets=fleets,
            services=fence,
            source=source,
            clock=runtime.clock,
            events=events,
            explanations=explanations,
            rng=runtime.rng,
            policies={given.name: given.policy_object() for given in settings.fleets},
            agents=FencedAgents(DryRunAgents(agents.ask) if dry_run else agents, fence),
            forecast=self._forecaster,
            pause=PauseSwitch(always=settings.paused, file=settings.pause_file),
            budget=budget,
            crosscheck=crosscheck_of(settings, runtime, source_events),
        )
        self._writer = OneWriter(fence=fence, steering=cycle, events=events, explanations=explanations)

    async def run(self) -> int:
        """Steer the fleets until told to stop."""
        pace = Pace(
            period_seconds=self._interval_seconds,
            deadline_seconds=_TICK_DEADLINE_SECONDS,
            # One failing fleet must not slow down the others: after a failure the period is kept.
            backoff_max_seconds=self._interval_seconds,
        )

        async def steer() -> None:
            await self._runtime.every(pace, self._writer.tick)

        if self._forecaster is None:
            await steer()
        else:
            await beside(steer, self._forecaster, self._runtime, self._events)
        await asyncio.to_thread(self._lease.release)  # whoever stands by need not wait
        return 0

    async def once(self) -> int:
        """Steer each fleet once. A scale-in needs two ticks of one process, so this never scales in."""
        await self._writer.tick()
        await asyncio.to_thread(self._lease.release)
        return 0

    def check(self) -> AsyncIterator[Finding]:
        """Look at permissions and reachability, changing nothing."""
        return self._doctor.findings()


def _agent_token(settings: WorkerScalerSettings, runtime: Runtime) -> Secret | None:
    literal = settings.agent_token.get_secret_value() if settings.agent_token else None
    if literal is None and settings.agent_token_secret_id is None:
        return None
    return runtime.secret(literal=literal, secret_id=settings.agent_token_secret_id)


SIDECAR = Sidecar(
    name="worker-scaler",
    summary="Sets the desired count of Celery-worker ECS services from Airflow's queue depth.",
    settings=WorkerScalerSettings,
    wire=WorkerScaler,
    commands=(EXPLAIN, GRANT_SQL, TRACE, simulate.COMMAND),
    can_dry_run=True,
)


def main() -> int:
    """Run the command line. ``simulate`` alone needs no settings: it asks nobody, and anyone may try it."""
    if sys.argv[1:2] == [simulate.COMMAND.name]:
        return simulate.main(sys.argv[2:])
    return cli.main(SIDECAR)


if __name__ == "__main__":
    sys.exit(main())
