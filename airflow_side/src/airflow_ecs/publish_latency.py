"""How long a publish to SQS takes, from the process that publishes: the scheduler.

Through Airflow's Stats, unlike the worker's numbers: the scheduler has no port of ours, and whoever watches
``airflow_ecs.celery_publish`` watches the scheduler's other statsd timers beside it. ``[celery]
operation_timeout`` ends a publish; it should be far above this.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from airflow_ecs.worker_agent import clock

STAT = "airflow_ecs.celery_publish"
_begun = threading.local()


def watch() -> None:
    """Measure every publish of this process; idempotent."""
    from celery import signals  # type: ignore[import-not-found]  # noqa: PLC0415  # of the Airflow image

    signals.before_task_publish.connect(_before, weak=False, dispatch_uid=f"{STAT}.before")
    signals.after_task_publish.connect(_after, weak=False, dispatch_uid=f"{STAT}.after")


def _before(**_: Any) -> None:
    _begun.at = clock.monotonic()


def _after(routing_key: str = "", **_: Any) -> None:
    milliseconds = (clock.monotonic() - _begun.at) * 1000
    # A number that cannot be delivered must not fail the task that was published.
    with contextlib.suppress(Exception):
        _stats().timing(STAT, milliseconds, tags={"queue": routing_key})


def _stats() -> Any:
    try:
        from airflow.providers.common.compat.sdk import (  # type: ignore[import-not-found]  # noqa: PLC0415  # there by now
            Stats,
        )
    except ImportError:  # providers of Airflow 3.0
        from airflow.stats import (  # type: ignore[import-not-found]  # noqa: PLC0415  # the same
            Stats,
        )
    return Stats
