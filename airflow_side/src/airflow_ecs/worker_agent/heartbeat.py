"""The file that says "the worker's event loop turns", and who reads it for the ECS health check.

Celery's ``inspect ping`` cannot be used: remote control does not exist on SQS. Reading the file costs the
start of a python; nothing of Celery or Airflow is imported.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_ecs.worker_agent import clock

WRITE_EVERY_SECONDS = 5.0
MAX_AGE_SECONDS = 60.0  # more than the longest call to AWS that the event loop itself waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One heartbeat.

    Attributes:
        at: seconds of the machine's monotonic clock, which all processes of a container share.
        pid: the worker's main process.
        phase: as in docs/adr/0004.
        active_tasks: tasks being executed.
        oldest_poll_seconds: how long SQS has owed an answer.
    """

    at: float
    pid: int
    phase: str
    active_tasks: int
    oldest_poll_seconds: float


def write(path: Path, beat: Beat) -> None:
    """Put a heartbeat in the place of the last one, whole.

    Raises:
        OSError: the file cannot be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(asdict(beat)))
    draft.replace(path)


def problem(path: Path, *, max_age_seconds: float = MAX_AGE_SECONDS) -> str | None:
    """Return why the worker is not healthy, None when it is."""
    try:
        beat = Beat(**json.loads(path.read_text()))
    except FileNotFoundError:
        return f"there is no heartbeat at {path}: the worker has not started, or without the worker agent"
    except (OSError, ValueError, TypeError) as err:
        return f"the heartbeat at {path} cannot be read: {type(err).__name__}: {err}"
    age = clock.monotonic() - beat.at
    if age > max_age_seconds:
        return (
            f"the last heartbeat is {age:.0f} s old: the event loop of worker {beat.pid} is stuck, or it"
            f" is gone (it was {beat.phase} with {beat.active_tasks} tasks)"
        )
    return None
