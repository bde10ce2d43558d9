"""What the engine asks of whatever really runs a task's containers.

Calls return at once and never block: a runtime that needs time (a container engine) works behind the scenes
and tells what came of it at the next :meth:`Runtime.poll`. Times are the engine's; a runtime keeps none of
its own but for its own deadlines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from local_ecs.model import ContainerDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A task to be started.

    Attributes:
        log_group: name of the service, or of the family for a task of no service: where its log belongs.
        containers: what to start, overrides already applied.
        environment: variables that ECS adds to each container's own.
    """

    task_id: str
    log_group: str
    containers: tuple[ContainerDefinition, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """All containers run. ``runtime_ids`` by container name, as ``docker ps --no-trunc`` would show them."""

    task_id: str
    address: str
    runtime_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotStarted:
    """The task could not be started and nothing of it runs; ``reason`` is for people."""

    task_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """One container ended. ``exit_code`` is 128 + n when signal n ended it."""

    task_id: str
    container: str
    exit_code: int


Report = Started | NotStarted | Exited


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """How to find a running task on this machine; None where there is nothing to find."""

    main_pid: int | None = None
    log_path: str | None = None


class Runtime(Protocol):
    """Starts and ends the containers of tasks."""

    def start(self, launch: Launch, now: datetime) -> None:
        """Start a task; told once per task. Started or NotStarted follows."""

    def stop(self, task_id: str, now: datetime, *, grace_seconds: float | None = None) -> None:
        """Tell a task's containers to end, and kill what is left after each one's stop timeout.

        Idempotent; unknown tasks are ignored. ``grace_seconds`` shortens the stop timeouts. Exited follows
        for each container.
        """

    def poll(self, now: datetime) -> Sequence[Report]:
        """Return what happened since the last call, in order."""

    def next_due(self) -> datetime | None:
        """Return when something will happen without being told; None when that cannot be known."""

    def whereabouts(self, task_id: str) -> Whereabouts:
        """Return where a task runs; also for one that ended a while ago, as far as that is known."""

    def close(self) -> None:
        """End everything at once and give back what is held. Idempotent; nothing may be called afterwards."""
