"""``airflow-ecs worker-health``, the same as ``python -m airflow_ecs.worker_agent health``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from airflow_ecs.worker_agent import heartbeat
from airflow_ecs.worker_agent.settings import DEFAULT_HEARTBEAT_FILE, PREFIX


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none: the file is the one that the worker's own variable names."""


def run(_arguments: argparse.Namespace | None = None) -> int:
    """Print whether the worker's event loop turns; return 0 when it does, else 1."""
    path = os.environ.get(f"{PREFIX}_HEARTBEAT_FILE") or DEFAULT_HEARTBEAT_FILE  # noqa: TID251  # a command reads its own
    problem = heartbeat.problem(Path(path))
    print(problem or "healthy")  # noqa: T201  # ECS shows what a health check prints
    return 1 if problem else 0
