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
    BACKLOG = "backlog"  # more tasks than slots: scaled out
    EXPECTED = "expected"  # more tasks are expected than there are slots: scaled out ahead of them
    MINIMUM = "minimum"  # below min_workers: scaled out
    REPAIR = "repair"  # somebody lowered desired below the busy or protected workers: raised
    SURPLUS = "surplus"  # twice proven idle: scaled in
    RELEASING = "releasing"  # surplus workers were proven idle once, and unprotected
    NO_READING = "no_reading"
    STALE_READING = "stale_reading"
    WINDOW = "window"  # surplus, held: the demand did not fit for a whole scale-in window yet
    TASKS_QUEUED = "tasks_queued"  # surplus, held: a queued task may be on its way to any worker
    UNMATCHED_HOST = "unmatched_host"  # surplus, held: a busy host is no known worker
    UNKNOWN_WORKER = "unknown_worker"  # surplus, held: ECS did not describe a worker
    DEPLOYING = "deploying"  # surplus, held: ECS is replacing workers
    ALL_BUSY = "all_busy"  # surplus, held: no surplus worker is idle and old enough
    PROTECTING = "protecting"  # surplus, held: a worker that stays is not protected yet
    DRAINING = "draining"  # surplus, held: cordoned workers still hold something, or did not answer
    ZERO_DOUBTED = "zero_doubted"  # surplus, held: the last worker; a queue may hold work nobody counted
    FROZEN = "frozen"  # held: a freeze window is open
    PAUSED = "paused"  # nothing is changed: somebody paused the scaler
    PARTIAL_READING = "partial_reading"  # nothing is changed: the reading is incomplete and asks for no more
    DEPLOYMENT_FAILED = "deployment_failed"  # scale-out held: ECS gave the newest deployment up
    NO_CAPACITY = "no_capacity"  # scale-out held: ECS has no room for more workers
    STARTS_FAILING = "starts_failing"  # scale-out held: workers do not start
    STARTS_SLOW = "starts_slow"  # scale-out held: workers take far longer to start than is known of them
    FLOOR = "floor"  # raised: somebody set the count below a policy's floor
    SCHEDULED = "scheduled"  # changed: the policy's schedule asks for another count
    NOT_LOWERED = "not_lowered"  # held: this policy never lowers a count


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
