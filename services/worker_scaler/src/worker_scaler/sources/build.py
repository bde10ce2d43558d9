"""Which source the settings ask for, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.postgres import Database
from worker_scaler.iam_login import IamLogin

if TYPE_CHECKING:
    from sidecar.app import Runtime
    from worker_scaler.settings import WorkerScalerSettings

_APPLICATION_NAME = "airflow-ecs-worker-scaler"


def database_of(settings: WorkerScalerSettings, runtime: Runtime) -> Database:
    """Return Airflow's database; opens no connection yet."""
    url = settings.database_url.get_secret_value() if settings.database_url else None
    secret = runtime.secret(literal=url, secret_id=settings.database_secret_id)
    if settings.database_iam_auth:
        secret = IamLogin(secret, aws=runtime.aws)
    return Database(secret, application_name=_APPLICATION_NAME)
