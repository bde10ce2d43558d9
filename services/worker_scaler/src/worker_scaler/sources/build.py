"""Which source, second source and lease the settings ask for, put together. Opens no connection yet."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING

from sidecar.postgres import Database
from worker_scaler.advisory_lock import AdvisoryLock, service_names
from worker_scaler.dynamodb_lease import DynamoDbLease
from worker_scaler.forecaster import Forecaster
from worker_scaler.iam_login import IamLogin
from worker_scaler.lease import Lease, NoLease
from worker_scaler.sources.command import CommandSource
from worker_scaler.sources.database import DatabaseSource
from worker_scaler.sources.history import DatabaseHistory
from worker_scaler.sources.rest import RestSource
from worker_scaler.sources.rest_client import RestClient
from worker_scaler.sources.sqs import CrossCheck, SqsQueues

if TYPE_CHECKING:
    from sidecar.app import Runtime
    from worker_scaler.ports import Source
    from worker_scaler.settings import WorkerScalerSettings
    from worker_scaler.sources.events import SourceEvents

_READ_TIMEOUT_SECONDS = 5.0
_NAME = "airflow-ecs-worker-scaler"


def database_of(settings: WorkerScalerSettings, runtime: Runtime, *, name: str = _NAME) -> Database:
    """Return Airflow's database; ``name`` is how the server's administrator sees us."""
    url = settings.database_url.get_secret_value() if settings.database_url else None
    secret = runtime.secret(literal=url, secret_id=settings.database_secret_id)
    if settings.database_iam_auth:
        secret = IamLogin(secret, aws=runtime.aws)
    return Database(secret, application_name=name)


def source_of(settings: WorkerScalerSettings, runtime: Runtime, events: SourceEvents) -> Source:
    """Return where the queue depth is read."""
    if settings.source == "command":
        return CommandSource(
            settings.command or "",
            timeout_seconds=settings.command_timeout_seconds,
            environ=runtime.environ,
        )
    if settings.source == "rest":
        events.blind_spots(["callbacks and connection tests: they are not in Airflow's REST API"])
        return RestSource(
            _api_of(settings, runtime),
            queues=(queue for fleet in settings.fleets for queue in fleet.queues),
            meaning=settings.meaning(),
            clock=runtime.clock,
        )
    return DatabaseSource(
        database_of(settings, runtime),
        statement_timeout_seconds=settings.statement_timeout_seconds,
        meaning=settings.meaning(),
        clock=runtime.clock,
        tell_blind_spots=events.blind_spots,
    )


def forecaster_of(settings: WorkerScalerSettings, runtime: Runtime) -> Forecaster | None:
    """Return what foresees from the past; None when no fleet foresees, or no database is there to ask."""
    wants = any(fleet.foresee is not None and fleet.policy == "queue" for fleet in settings.fleets)
    if not wants or not settings.has_database or not settings.history_days:
        return None
    history = DatabaseHistory(database_of(settings, runtime), days=settings.history_days)
    return Forecaster(history, tick=timedelta(seconds=settings.interval_seconds))


def _api_of(settings: WorkerScalerSettings, runtime: Runtime) -> RestClient:
    literal = settings.api_password.get_secret_value() if settings.api_password else None
    return RestClient(
        settings.api_url or "",
        username=settings.api_username or "",
        password=runtime.secret(literal=literal, secret_id=settings.api_password_secret_id),
        timeout_seconds=settings.api_timeout_seconds,
        clock=runtime.clock,
    )


def queues_of(settings: WorkerScalerSettings, runtime: Runtime) -> SqsQueues | None:
    """Return the SQS queues of all fleets; None when no fleet names one."""
    urls = {queue: url for fleet in settings.fleets for queue, url in fleet.sqs_queue_urls.items()}
    if not urls:
        return None
    config = runtime.aws.config(read_timeout_seconds=_READ_TIMEOUT_SECONDS)
    return SqsQueues(runtime.aws.session.client("sqs", config=config), urls)


def crosscheck_of(
    settings: WorkerScalerSettings, runtime: Runtime, events: SourceEvents
) -> CrossCheck | None:
    """Return the second source; None when no fleet names an SQS queue."""
    queues = queues_of(settings, runtime)
    return None if queues is None else CrossCheck(queues, clock=runtime.clock, events=events)


def lease_of(settings: WorkerScalerSettings, runtime: Runtime) -> Lease:
    """Return the lease; a dry run needs none, and must not take it from who acts."""
    if settings.lock_kind == "none" or settings.dry_run or runtime.dry_run:
        return NoLease()
    holder = f"worker-scaler on {socket.gethostname()}"
    if settings.lock_kind == "database":
        services = service_names([(fleet.cluster, fleet.service) for fleet in settings.fleets])
        return AdvisoryLock(database_of(settings, runtime, name=holder), services=services)
    config = runtime.aws.config(read_timeout_seconds=settings.interval_seconds / 4, attempts=2)
    return DynamoDbLease(
        runtime.aws.session.client("dynamodb", config=config),
        table=settings.lock_table or "",
        name=settings.lock_name,
        holder=holder,
        interval_seconds=settings.interval_seconds,
        clock=runtime.clock,
    )
