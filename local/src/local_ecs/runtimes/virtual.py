"""A runtime that starts nothing: tasks run until they are told to end, or until the caller says they ended.

For tests and simulations: hundreds of tasks over days of virtual time in a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_ecs.model import ContainerDefinition
from local_ecs.runtimes.base import Exited, Launch, NotStarted, Report, Started, Whereabouts

SIGTERM_EXIT_CODE = 143  # 128 + SIGTERM
SIGKILL_EXIT_CODE = 137  # 128 + SIGKILL


@dataclass(slots=True, kw_only=True)
class _Running:
    containers: tuple[ContainerDefinition, ...]
    is_stopping: bool = False


class VirtualRuntime:
    """Simulated containers.

    Attributes:
        stop_seconds: how long a container takes to end after SIGTERM; when that is more than its stop
            timeout, it is killed at the timeout and exits with 137 in place of 143.
        start_error: while set, every start fails with this reason.
    """

    def __init__(self, *, stop_seconds: float = 0.0) -> None:
        self.stop_seconds = stop_seconds
        self.start_error: str | None = None
        self._running: dict[str, _Running] = {}
        self._reports: list[Report] = []
        self._exits: list[tuple[datetime, Exited]] = []
        self._addresses = 0

    def start(self, launch: Launch, now: datetime) -> None:  # noqa: ARG002 - the protocol's; nothing takes time here
        """Start a simulated task."""
        if self.start_error is not None:
            self._reports.append(NotStarted(task_id=launch.task_id, reason=self.start_error))
            return
        self._running[launch.task_id] = _Running(containers=launch.containers)
        ids = {c.name: f"{launch.task_id}-{index:010d}" for index, c in enumerate(launch.containers)}
        self._addresses += 1
        address = f"10.0.{self._addresses // 250 % 250}.{self._addresses % 250 + 4}"
        self._reports.append(Started(task_id=launch.task_id, address=address, runtime_ids=ids))

    def stop(self, task_id: str, now: datetime, *, grace_seconds: float | None = None) -> None:
        """Let each container end after ``stop_seconds``, or be killed at its stop timeout."""
        running = self._running.get(task_id)
        if running is None or running.is_stopping:
            return
        running.is_stopping = True
        for container in running.containers:
            timeout = container.stop_timeout_seconds if grace_seconds is None else grace_seconds
            obeys = self.stop_seconds <= timeout
            exit_code = SIGTERM_EXIT_CODE if obeys else SIGKILL_EXIT_CODE
            due = now + timedelta(seconds=min(self.stop_seconds, timeout))
            exited = Exited(task_id=task_id, container=container.name, exit_code=exit_code)
            self._exits.append((due, exited))

    def exit(self, task_id: str, exit_code: int = SIGKILL_EXIT_CODE, *, container: str | None = None) -> None:
        """Let a container (the first one unless named) end by itself, now."""
        running = self._running.get(task_id)
        if running is not None:
            name = container or running.containers[0].name
            self._reports.append(Exited(task_id=task_id, container=name, exit_code=exit_code))

    def poll(self, now: datetime) -> Sequence[Report]:
        """Return what happened since the last call, in order."""
        due = [exited for moment, exited in self._exits if moment <= now]
        self._exits = [(moment, exited) for moment, exited in self._exits if moment > now]
        reports, self._reports = [*self._reports, *due], []
        return [report for report in reports if not isinstance(report, Exited) or self._forget(report)]

    def _forget(self, exited: Exited) -> bool:
        """Drop an ended container; return whether it was still there."""
        running = self._running.get(exited.task_id)
        if running is None:
            return False
        left = tuple(c for c in running.containers if c.name != exited.container)
        was_there = len(left) < len(running.containers)
        running.containers = left
        if not left:
            del self._running[exited.task_id]
        return was_there

    def next_due(self) -> datetime | None:
        """Return when the next container ends."""
        return min((moment for moment, _ in self._exits), default=None)

    def whereabouts(self, task_id: str) -> Whereabouts:  # noqa: ARG002 - the protocol's; nothing is anywhere
        """Return that there is nothing to find."""
        return Whereabouts()

    def close(self) -> None:
        """Forget everything."""
        self._running.clear()
        self._exits.clear()
        self._reports.clear()
