"""The rules of others, as they document them, to be compared with the scaler on the same simulated world.

None of them knows which worker is busy. Only MWAA's protects busy workers, which is played by a protection
that follows each worker's tasks exactly: better than any of them could do from outside.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from worker_scaler.simulate.ecs import Status
from worker_scaler.simulate.experiment import MakeController
from worker_scaler.simulate.world import World

MINUTE = 60.0
MINUTES_OUT, MINUTES_IN = 3, 15
"""How many minutes target tracking's alarms must hold before it adds, and before it removes."""
HPA_WINDOW_SECONDS, HPA_PERIOD_SECONDS, HPA_TOLERANCE = 300.0, 15.0, 0.1
KEDA_COOLDOWN_SECONDS = 30.0
MWAA_WINDOW_SECONDS = 300.0
STEP_OUT_LOAD, STEP_IN_LOAD = 0.75, 0.25
STEP_OUT_SECONDS, STEP_IN_SECONDS = 60.0, 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a rule may look at."""

    now: float
    queued: int
    executing: int
    running_workers: int
    desired: int
    slots: int


class Rule(Protocol):
    """Chooses a desired count. Called every 10 s; a rule that looks less often skips calls itself."""

    def __call__(self, seen: Seen) -> int:
        """Return the count."""


class RuleController:
    """Steers a world by a rule."""

    has_agents = False

    def __init__(
        self, make: Callable[[], Rule], world: World, seed: int, *, protects_busy: bool = False
    ) -> None:
        del world, seed  # a rule has neither memory of the world nor chance
        self._rule = make()
        self._protects_busy = protects_busy

    def tick(self, world: World) -> None:
        """Look and set the count."""
        service = world.service
        running = [task for task in service.live.values() if task.status is Status.RUNNING]
        if self._protects_busy:
            for task in running:
                task.protected_until = math.inf if task.running else -math.inf
        count = self._rule(
            Seen(
                now=world.now,
                queued=len(world.queue),
                executing=world.executing + len(world.zombies),
                running_workers=len(running),
                desired=service.desired,
                slots=world.terms.tasks_per_worker,
            )
        )
        world.measure.calls["DescribeServices"] += 1
        if self._protects_busy:
            count = max(count, sum(1 for task in running if task.running))
        if count != service.desired:
            world.measure.calls["UpdateService"] += 1
            service.set_desired(count, world.now)

    def close(self) -> None:
        """Hold nothing."""


class Fixed:
    """Always the same count."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, seen: Seen) -> int:
        """Return it."""
        del seen
        return self._count


class CpuTargetTracking:
    """Application Auto Scaling on the service's CPU, target 70 %.

    Out after 3 minutes above the target, in after 15 minutes below 90 % of it, once a minute, between 1 and
    1000 workers. Generous: each task is taken to use its whole share of the worker's CPU; real ones wait.
    https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
    """

    target = 0.7

    def __init__(self) -> None:
        self._minutes: deque[float] = deque(maxlen=MINUTES_IN)
        self._due = 0.0

    def __call__(self, seen: Seen) -> int:
        """Return the count once a minute, else what it is."""
        if seen.now < self._due:
            return max(1, seen.desired)
        self._due = seen.now + MINUTE
        slots = max(1, seen.running_workers) * seen.slots
        cpu = min(1.0, seen.executing / slots)
        self._minutes.append(cpu)
        wanted = math.ceil(max(1, seen.running_workers) * cpu / self.target)
        last = list(self._minutes)
        if len(last) >= MINUTES_OUT and min(last[-MINUTES_OUT:]) > self.target:
            return max(seen.desired, wanted)
        if len(last) == MINUTES_IN and max(last) < 0.9 * self.target:
            return max(1, min(seen.desired, wanted))
        return max(1, seen.desired)


class KedaAndHpa:
    """KEDA's query of the Airflow chart, and the HPA behind it, with their defaults.

    From zero to one at once, then the HPA: tolerance 10 %, at most doubling or 4 more per 15 s, the highest
    wish of 300 s before anything is removed; to zero 30 s after the last task.
    """

    def __init__(self) -> None:
        self._wishes: deque[tuple[float, int]] = deque()
        self._due = 0.0
        self._active_at = -math.inf

    def __call__(self, seen: Seen) -> int:
        """Return the count."""
        demand = seen.queued + seen.executing
        wish = math.ceil(demand / seen.slots)
        if demand:
            self._active_at = seen.now
        if seen.desired == 0:
            return 1 if demand else 0
        if not demand and seen.now - self._active_at >= KEDA_COOLDOWN_SECONDS:
            self._wishes.clear()
            return 0
        if seen.now < self._due:
            return seen.desired
        self._due = seen.now + HPA_PERIOD_SECONDS
        self._wishes.append((seen.now, max(1, wish)))
        while self._wishes[0][0] < seen.now - HPA_WINDOW_SECONDS:
            self._wishes.popleft()
        if abs(wish / seen.desired - 1.0) <= HPA_TOLERANCE:
            return seen.desired
        if wish > seen.desired:
            return min(wish, max(2 * seen.desired, seen.desired + 4))
        return min(seen.desired, max(count for _, count in self._wishes))


class Mwaa:
    """MWAA's rule: (running + queued) / tasks per worker, one worker at least, fewer after 5 minutes.

    https://docs.aws.amazon.com/mwaa/latest/userguide/mwaa-autoscaling.html
    """

    def __init__(self) -> None:
        self._wishes: deque[tuple[float, int]] = deque()

    def __call__(self, seen: Seen) -> int:
        """Return the count."""
        wish = max(1, math.ceil((seen.queued + seen.executing) / seen.slots))
        self._wishes.append((seen.now, wish))
        while self._wishes[0][0] < seen.now - MWAA_WINDOW_SECONDS:
            self._wishes.popleft()
        return max(wish, min(seen.desired, max(count for _, count in self._wishes)))


class BacklogPerTask:
    """AWS's advice for SQS: visible messages per worker, target = acceptable latency / processing time.

    Published once a minute; out after 3 minutes, in after 15, as target tracking does.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-using-sqs-queue.html
    """

    acceptable_seconds = 60.0

    def __init__(self, mean_task_seconds: float) -> None:
        self._seconds = max(1.0, mean_task_seconds)
        self._minutes: deque[int] = deque(maxlen=MINUTES_IN)
        self._due = 0.0

    def __call__(self, seen: Seen) -> int:
        """Return the count once a minute, else what it is."""
        if seen.now < self._due:
            return max(1, seen.desired)
        self._due = seen.now + MINUTE
        per_worker = seen.slots * self.acceptable_seconds / self._seconds
        self._minutes.append(math.ceil(seen.queued / per_worker))
        last = list(self._minutes)
        if len(last) >= MINUTES_OUT and min(last[-MINUTES_OUT:]) > seen.desired:
            return last[-1]
        if len(last) == MINUTES_IN and max(last) < seen.desired:
            return max(1, *last)
        return max(1, seen.desired)


class QueuedOnlySteps:
    """danwiltshire/celery-ecs-autoscaler: queued / slots, +2 above 0.75, -1 below 0.25, cooldowns."""

    def __init__(self) -> None:
        self._out_at = self._in_at = -math.inf

    def __call__(self, seen: Seen) -> int:
        """Return the count."""
        slots = max(1, seen.desired) * seen.slots
        load = seen.queued / slots
        if load > STEP_OUT_LOAD and seen.now - self._out_at >= STEP_OUT_SECONDS:
            self._out_at = seen.now
            return seen.desired + 2
        is_cool = seen.now - max(self._in_at, self._out_at) >= STEP_IN_SECONDS
        if load < STEP_IN_LOAD and seen.desired > 1 and is_cool:
            self._in_at = seen.now
            return seen.desired - 1
        return max(1, seen.desired)


def baselines(*, fixed_count: int, mean_task_seconds: float) -> list[tuple[str, MakeController]]:
    """Return all of them by name.

    Args:
        fixed_count: of the fleet that is never scaled.
        mean_task_seconds: what backlog per task calls the processing time.
    """
    return [
        (f"fixed_{fixed_count}", partial(RuleController, partial(Fixed, fixed_count))),
        ("cpu_target_tracking", partial(RuleController, CpuTargetTracking)),
        ("keda_hpa", partial(RuleController, KedaAndHpa)),
        ("mwaa", partial(RuleController, Mwaa, protects_busy=True)),
        ("backlog_per_task", partial(RuleController, partial(BacklogPerTask, mean_task_seconds))),
        ("queued_only_steps", partial(RuleController, QueuedOnlySteps)),
    ]
