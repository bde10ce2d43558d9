"""A small ECS service on virtual time: what ``local_ecs`` plays in full, reduced to what scaling meets.

Starts take a log-normal time; a lowered count stops tasks at random among the unprotected ones, starting or
running, whatever they do; more protected tasks than desired are refused. Deployments, failing starts and
throttling are not played: ``local_ecs`` plays them in the tests of the scaler. That both agree on the rest is
tested (``tests/worker_scaler/test_simulate_ecs.py``).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

PROVISIONING_SHARE = 0.2
"""Of the start latency: the network interface. Then the image is pulled, and Fargate's bill begins."""

MINIMUM_BILLED_SECONDS = 60.0
"""https://aws.amazon.com/fargate/pricing/: per second from the pull of the image, at least a minute."""


class Status(IntEnum):
    """Where a simulated worker is in its life."""

    STARTING = 0
    RUNNING = 1
    STOPPING = 2
    STOPPED = 3


@dataclass(slots=True, eq=False)
class Task:
    """One ECS task, that is one worker. Seconds of virtual time; infinity is never.

    Attributes:
        running: what it executes: job to the moment at which it was begun. Written by the world.
        free: free slots.
        place: its index in the world's list of polling workers; -1 when it does not poll.
        polls_until: a cordoned worker's open poll may still bring messages until then.
    """

    id: str
    created_at: float
    billed_from: float
    due_at: float
    free: int
    status: Status = Status.STARTING
    protected_until: float = -math.inf
    started_at: float = math.inf
    stopped_at: float = math.inf
    is_cordoned: bool = False
    polls_until: float = -math.inf
    place: int = -1
    version: int = 0
    running: dict[Any, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLatency:
    """How long a worker takes from its creation to RUNNING: log-normal.

    75 s: an image of a few hundred MB takes 53-62 s on Fargate (elasticscale.com, 2024, 10 runs), Airflow's
    is larger and its worker imports for seconds.
    """

    median_seconds: float = 75.0
    sigma: float = 0.3


class Service:
    """One service and its tasks.

    Args:
        dice: chooses victims, draws latencies and ids.
        latency: of starts.
        slots: tasks per worker.
        will_start: told of a task that becomes RUNNING at ``task.due_at``.
        stops: told of a running task that got SIGTERM.
    """

    def __init__(
        self,
        *,
        dice: random.Random,
        latency: StartLatency,
        slots: int,
        will_start: Callable[[Task], None],
        stops: Callable[[Task], None],
    ) -> None:
        self._dice = dice
        self._latency = latency
        self._slots = slots
        self._will_start = will_start
        self._stops = stops
        self.desired = 0
        self.live: dict[str, Task] = {}
        self.stopped: dict[str, Task] = {}
        self.billed_seconds = 0.0

    def wanted(self) -> list[Task]:
        """Return the tasks that count for the desired count."""
        return [task for task in self.live.values() if task.status <= Status.RUNNING]

    def set_desired(self, count: int, now: float) -> None:
        """Set the desired count, and start or stop tasks for it."""
        self.desired = count
        self.settle(now)

    def settle(self, now: float) -> None:
        """Start what is missing, stop what is too much and unprotected. Idempotent."""
        wanted = self.wanted()
        for _ in range(self.desired - len(wanted)):
            self._create(now)
        surplus = len(wanted) - self.desired
        if surplus > 0:
            exposed = [task for task in wanted if task.protected_until <= now]
            for task in self._dice.sample(exposed, min(surplus, len(exposed))):
                self._stop(task, now)

    def protect(self, task_id: str, seconds: float, now: float) -> str | None:
        """Protect one task, or renew it; return ECS's reason when it refuses."""
        task = self.live.get(task_id)
        if task is None:
            return "TASK_NOT_VALID" if task_id in self.stopped else "MISSING"
        if task.status > Status.RUNNING:
            return "TASK_NOT_VALID"
        others = sum(1 for other in self._protected(now) if other is not task)
        if others + 1 > self.desired:
            return "DEPLOYMENT_BLOCKED"
        task.protected_until = now + seconds
        task.version += 1
        return None

    def unprotect(self, task_id: str, now: float) -> str | None:
        """Take the protection off; return ECS's reason when it refuses."""
        task = self.live.get(task_id)
        if task is None or task.status > Status.RUNNING:
            return "TASK_NOT_VALID" if task is not None or task_id in self.stopped else "MISSING"
        task.protected_until = -math.inf
        task.version += 1
        self.settle(now)
        return None

    def started(self, task: Task, now: float) -> bool:
        """Let a starting task run, if it was not stopped meanwhile; return whether it does."""
        if task.status is not Status.STARTING:
            return False
        task.status = Status.RUNNING
        task.started_at = now
        task.version += 1
        return True

    def gone(self, task: Task, now: float) -> None:
        """End a task, and write it on the bill."""
        task.status = Status.STOPPED
        task.stopped_at = now
        task.protected_until = -math.inf
        task.version += 1
        if now > task.billed_from:
            self.billed_seconds += max(MINIMUM_BILLED_SECONDS, now - task.billed_from)
        del self.live[task.id]
        self.stopped[task.id] = task

    def forget(self, before: float) -> None:
        """Forget the tasks that stopped before this moment, as ECS does after an hour."""
        while self.stopped:
            first = next(iter(self.stopped.values()))
            if first.stopped_at >= before:
                return
            del self.stopped[first.id]

    def _protected(self, now: float) -> Iterable[Task]:
        return (
            task
            for task in self.live.values()
            if task.protected_until > now and task.status <= Status.RUNNING
        )

    def _create(self, now: float) -> None:
        seconds = self._latency.median_seconds * self._dice.lognormvariate(0.0, self._latency.sigma)
        task = Task(
            id=f"{self._dice.getrandbits(128):032x}",
            created_at=now,
            billed_from=now + seconds * PROVISIONING_SHARE,
            due_at=now + seconds,
            free=self._slots,
        )
        self.live[task.id] = task
        self._will_start(task)

    def _stop(self, task: Task, now: float) -> None:
        if task.status is Status.STARTING:
            self.gone(task, now)
            return
        task.status = Status.STOPPING
        task.version += 1
        self._stops(task)
