"""``python -m airflow_ecs.worker_agent health``: for the container health check of a worker on ECS."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow_ecs.worker_agent import heartbeat
from airflow_ecs.worker_agent.settings import DEFAULT_HEARTBEAT_FILE, PREFIX


def health() -> int:
    """Print whether the worker's event loop turns; return 0 when it does, else 1."""
    path = os.environ.get(f"{PREFIX}_HEARTBEAT_FILE") or DEFAULT_HEARTBEAT_FILE  # noqa: TID251  # a command reads its own
    problem = heartbeat.problem(Path(path))
    print(problem or "healthy")  # noqa: T201  # ECS shows what a health check prints
    return 1 if problem else 0


if __name__ == "__main__":
    if sys.argv[1:] != ["health"]:
        sys.exit("usage: python -m airflow_ecs.worker_agent health")
    sys.exit(health())
