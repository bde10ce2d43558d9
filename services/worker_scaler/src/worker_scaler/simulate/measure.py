"""What one simulation is judged by."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker_scaler.simulate.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The world at one tick: workers and tasks."""

    at_seconds: float
    desired: int
    running_workers: int
    pending_workers: int
    cordoned_workers: int
    queued: int
    executing: int


@dataclass(slots=True)
class Measure:
    """Counts while a world plays.

    Attributes:
        waits: seconds from queued to begun, of each begin of a task.
        first_waits: the same, of tasks that wait for no other: what a cron schedule alone announces.
        lost_seconds: what killed tasks had run before.
        calls: to ECS, by action.
        done_at, ended_at: when the last task was done, and when no worker was left or none was waited for.
        is_at_zero: whether no worker was left.
    """

    waits: array[float] = field(default_factory=lambda: array("d"))
    first_waits: array[float] = field(default_factory=lambda: array("d"))
    killed_tasks: int = 0
    lost_seconds: float = 0.0
    started: int = 0
    direction_changes: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    billed_seconds: float = 0.0
    done_at: float | None = None
    ended_at: float = 0.0
    is_at_zero: bool = False
    samples: list[Sample] = field(default_factory=list)
    _direction: int = 0
    _desired: int = 0

    def waited(self, seconds: float, *, is_first: bool) -> None:
        """A task begins after this wait."""
        self.waits.append(seconds)
        if is_first:
            self.first_waits.append(seconds)

    def killed(self, ran_seconds: float) -> None:
        """A task was killed after it had run for so long."""
        self.killed_tasks += 1
        self.lost_seconds += ran_seconds

    def work_done(self, now: float) -> None:
        """All work is done; the first time counts."""
        if self.done_at is None:
            self.done_at = now

    def sample(self, world: World) -> None:
        """Remember how the world is, and which way the count went."""
        desired = world.service.desired
        if desired != self._desired:
            direction = 1 if desired > self._desired else -1
            self.direction_changes += direction == -self._direction
            self._direction, self._desired = direction, desired
        running = pending = cordoned = 0
        for task in world.service.live.values():
            if task.status == 0:
                pending += 1
            else:
                running += 1
                cordoned += task.is_cordoned
        self.samples.append(
            Sample(
                at_seconds=world.now,
                desired=desired,
                running_workers=running,
                pending_workers=pending,
                cordoned_workers=cordoned,
                queued=len(world.queue),
                executing=world.executing,
            )
        )


def quantile(values: array[float], share: float) -> float:
    """Return the value that this share does not exceed; 0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
