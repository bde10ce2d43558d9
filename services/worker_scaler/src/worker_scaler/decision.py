"""What a decision is: an ordered plan, why it is so, and the numbers that led to it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker_scaler.memory import Memory
from worker_scaler.occupancy import Occupancy
from worker_scaler.steps import Step


class Why(StrEnum):
    """Why a decision was taken. The value is a metric label: never rename, only add."""

    STEADY = "steady"
    BACKLOG = "backlog"
    EXPECTED = "expected"
    MINIMUM = "minimum"
    REPAIR = "repair"
    SURPLUS = "surplus"
    RELEASING = "releasing"
    NO_READING = "no_reading"
    STALE_READING = "stale_reading"
    WINDOW = "window"
    TASKS_QUEUED = "tasks_queued"
    UNMATCHED_HOST = "unmatched_host"
    UNKNOWN_WORKER = "unknown_worker"
    DEPLOYING = "deploying"
    ALL_BUSY = "all_busy"
    PROTECTING = "protecting"
    DRAINING = "draining"
    ZERO_DOUBTED = "zero_doubted"
    FROZEN = "frozen"
    PAUSED = "paused"
    PARTIAL_READING = "partial_reading"
    DEPLOYMENT_FAILED = "deployment_failed"
    NO_CAPACITY = "no_capacity"
    STARTS_FAILING = "starts_failing"
    STARTS_SLOW = "starts_slow"
    FLOOR = "floor"
    SCHEDULED = "scheduled"
    DOUBTED = "doubted"

    @property
    def meaning(self) -> str:
        """For people."""
        return _MEANINGS[self]


_MEANINGS = {
    Why.STEADY: "nothing to change",
    Why.BACKLOG: "more tasks than slots: scaled out",
    Why.EXPECTED: "more tasks are expected than there are slots: scaled out ahead of them",
    Why.MINIMUM: "below min_workers: scaled out",
    Why.REPAIR: "somebody lowered desired below the busy or protected workers: raised",
    Why.SURPLUS: "twice proven idle: scaled in",
    Why.RELEASING: "surplus workers were proven idle once, and unprotected",
    Why.NO_READING: "nothing is changed: the queues could not be read",
    Why.STALE_READING: "nobody is let go: the reading is too old for that, or not newer than the last",
    Why.DOUBTED: "surplus, held: SQS has not agreed that there is no work",
    Why.WINDOW: "surplus, held: the demand did not fit for a whole scale-in window yet",
    Why.TASKS_QUEUED: "surplus, held: a queued task may be on its way to any worker",
    Why.UNMATCHED_HOST: "surplus, held: a busy host is no known worker",
    Why.UNKNOWN_WORKER: "surplus, held: ECS did not describe a worker",
    Why.DEPLOYING: "surplus, held: ECS is replacing workers",
    Why.ALL_BUSY: "surplus, held: no surplus worker is idle and old enough",
    Why.PROTECTING: "surplus, held: a worker that stays is not protected yet",
    Why.DRAINING: "surplus, held: cordoned workers still hold something, or did not answer",
    Why.ZERO_DOUBTED: "surplus, held: the last worker; a queue may hold work nobody counted",
    Why.FROZEN: "held: a freeze window is open",
    Why.PAUSED: "nothing is changed: somebody paused the scaler",
    Why.PARTIAL_READING: "nothing is changed: the reading is incomplete and asks for no more",
    Why.DEPLOYMENT_FAILED: "scale-out held: ECS gave the newest deployment up",
    Why.NO_CAPACITY: "scale-out held: ECS has no room for more workers",
    Why.STARTS_FAILING: "scale-out held: workers do not start",
    Why.STARTS_SLOW: "scale-out held: workers take far longer to start than is known of them",
    Why.FLOOR: "raised: somebody set the count below a policy's floor",
    Why.SCHEDULED: "changed: the policy's schedule asks for another count",
}


_NO_HOLDS = {
    *(Why.STEADY, Why.BACKLOG, Why.EXPECTED, Why.MINIMUM, Why.REPAIR, Why.SURPLUS, Why.RELEASING),
    *(Why.FLOOR, Why.SCHEDULED),
}

HOLDS = tuple(why for why in Why if why not in _NO_HOLDS)
"""The reasons for which something that the numbers ask for is not done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What led to a decision: counts of tasks and of workers. None is unknown, never zero.

    Attributes:
        demand_peak: the highest demand of the scale-in window, in tasks.
        wanted_workers: what the demand needs, within the fleet's limits.
        expected_tasks: those that the outlook adds to the demand.
        cordoned_workers: told not to take messages; None without agents or a reading.
        silent_agents: running workers whose agent did not answer.
        releasing_workers: chosen to go: unprotected and to be confirmed, or still starting.
    """

    queued_tasks: int | None = None
    running_tasks: int | None = None
    restarting_tasks: int | None = None
    callbacks: int | None = None
    admissible_tasks: int | None = None
    expected_tasks: int | None = None
    demand_tasks: int | None = None
    demand_peak_tasks: int | None = None
    oldest_queued_age_seconds: float | None = None
    wanted_workers: int | None = None
    desired_before: int
    desired_after: int
    running_workers: int
    pending_workers: int
    leaving_workers: int
    busy_workers: int | None = None
    unknown_workers: int
    cordoned_workers: int | None = None
    silent_agents: int | None = None
    protected_workers: int
    releasing_workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do for one fleet.

    Attributes:
        steps: to be done in this order; each is idempotent.
        memory: to be handed to the next decision.
        occupancy: who was seen busy; None without a usable reading.
        bound: the limit that keeps tasks or workers back, e.g. ``max_workers 20``; None is none known.
        trouble: why the service cannot start workers, in ECS's words; None when it can.
        doubt: why the queues may hold work that was not counted; "" is none.
    """

    steps: tuple[Step, ...]
    why: Why
    numbers: Numbers
    memory: Memory
    occupancy: Occupancy | None = None
    bound: str | None = None
    trouble: str | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The part of a decision that differs between its kinds.

    Attributes:
        desired: the count once the steps are done.
        releasing: whom to remember as chosen to go.
    """

    steps: tuple[Step, ...]
    why: Why
    desired: int
    releasing: frozenset[str] = frozenset()
