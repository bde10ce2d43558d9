"""``python -m airflow_ecs.worker_agent health``: for the container health check of a worker on ECS."""

from __future__ import annotations

import sys

from airflow_ecs.worker_agent import health

if __name__ == "__main__":
    if sys.argv[1:] != ["health"]:
        sys.exit("usage: python -m airflow_ecs.worker_agent health")
    sys.exit(health.run())
