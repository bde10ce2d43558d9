"""The fleet as it ships: what the settings make of a service, a queue, a maximum and the agent's port."""

from __future__ import annotations

import json

from worker_scaler.fleet_settings import DEFAULT_AGENT_PORT
from worker_scaler.model import Fleet
from worker_scaler.settings import WorkerScalerSettings
from worker_scaler.simulate.past import QUEUE

FLEET = "simulated"


def shipped_fleet(*, tasks_per_worker: int, max_workers: int) -> Fleet:
    """Return the fleet that these few settings make, everything else by default."""
    given = {
        "name": FLEET,
        "cluster": "simulated",
        "service": "workers",
        "queues": [QUEUE],
        "tasks_per_worker": tasks_per_worker,
        "max_workers": max_workers,
        "agent_port": DEFAULT_AGENT_PORT,
    }
    settings = WorkerScalerSettings.load(
        {
            "WORKER_SCALER_FLEETS": json.dumps([given]),
            "WORKER_SCALER_DATABASE_URL": "postgresql://nobody@simulated/airflow",
        }
    )
    return settings.fleet(settings.fleets[0])
