"""The run lock of one session, with this run's patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from sidecar.app import Runtime
from standalone_init.database import AirflowDatabase
from standalone_init.lock import Holder, RunLock
from standalone_init.settings import StandaloneInitSettings


def run_lock(
    settings: StandaloneInitSettings,
    runtime: Runtime,
    *,
    database: AirflowDatabase,
    connection: psycopg.Connection[Any],
    tell_waiting: Callable[[str, Holder | None, float], None],
) -> RunLock:
    """Return the lock; nothing is taken yet."""
    return RunLock(
        connection,
        open_another=database.reader,
        timeout_seconds=settings.lock_timeout_seconds,
        clock=runtime.clock,
        stop=runtime.stop,
        tell_waiting=tell_waiting,
    )
