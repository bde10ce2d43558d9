"""The values that travel between the modules: what a fleet is, what was seen of it and of its queues.

Values only: no I/O and no clock, so that :mod:`worker_scaler.decide` can be pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from worker_scaler.agent import AgentState
from worker_scaler.forecast.policy import Foresight
from worker_scaler.freeze import Freeze
from worker_scaler.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Surplus workers are cordoned at once and un-cordoned first: both are free, and a start takes a minute.

    Attributes:
        headroom_tasks: free slots to leave on working workers while the scale-in window lasts.
    """

    headroom_tasks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """One ECS service of Celery workers, and how it is to be steered.

    Attributes:
        tasks_per_worker: Celery's concurrency; how many tasks one worker runs at a time.
        scale_in_window: how long the demand must have fitted into fewer workers before any is released.
        protection: how long a protection lasts; renewed at half of it.
        minimum_age: a worker younger than this is never released.
        reading_max_age: an older reading changes nothing; a longer gap between two restarts the window.
        proof_max_age: an older reading, or an older look at ECS, proves nobody idle: it may add, and lets
            nobody go.
        agent_port: where the agents in its workers listen; None is a fleet without agents, whose busy workers
            are known from the database only.
        packing: how work is packed onto few workers, which needs agents; None leaves it where it falls.
        foresight: what is predicted from Airflow's past; None is nothing.
        max_step_out, max_step_in: by how many workers one decision may change the count; None is no limit.
        freezes: when it is left as large as it is.
        start_timeout: a worker pending for longer than this is a start that fails.
        backoff_base, backoff_max: the first and the longest pause after starts that fail.
    """

    name: str
    cluster: str
    service: str
    queues: tuple[str, ...]
    tasks_per_worker: int
    min_workers: int
    max_workers: int
    scale_in_window: timedelta
    protection: timedelta
    minimum_age: timedelta
    reading_max_age: timedelta
    proof_max_age: timedelta = timedelta(seconds=10)
    agent_port: int | None = None
    packing: Packing | None = None
    foresight: Foresight | None = None
    max_step_out: int | None = None
    max_step_in: int | None = None
    freezes: tuple[Freeze, ...] = ()
    start_timeout: timedelta = timedelta(minutes=10)
    backoff_base: timedelta = timedelta(seconds=30)
    backoff_max: timedelta = timedelta(minutes=15)


class Phase(StrEnum):
    """Where a worker is in its life."""

    PENDING = "pending"  # coming capacity: ECS starts it, it cannot hold a task yet
    RUNNING = "running"
    LEAVING = "leaving"  # ECS told it to stop; it may still finish tasks
    STOPPED = "stopped"
    UNKNOWN = "unknown"  # ECS listed it and could not describe it: treated as busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One ECS task of a fleet.

    Attributes:
        created_at: when ECS began to start it; None is unknown.
        started_at: when its containers ran; None before.
        protected_until: end of its scale-in protection; None is unprotected.
        addresses: its private IPv4 addresses.
        dns_names: its private DNS names.
        runtime_ids: its containers' runtime ids; their first 12 characters are a host name in bridge mode.
        stopped_at: when it ended; None while it lives.
        deployment_id: the deployment that started it; "" is unknown.
        stop_code, stop_reason: why ECS ended it, in ECS's words; "" while it lives.
        exits: how its containers ended: exit code (None is none) and ECS's reason.
        agent: what its own agent answered; None is no answer, which proves nothing.
    """

    arn: str
    phase: Phase
    created_at: datetime | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    protected_until: datetime | None = None
    addresses: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    runtime_ids: tuple[str, ...] = ()
    deployment_id: str = ""
    stop_code: str = ""
    stop_reason: str = ""
    exits: tuple[tuple[int | None, str], ...] = ()
    agent: AgentState | None = None

    @property
    def task_id(self) -> str:
        """The last part of its ARN."""
        return self.arn.rsplit("/", 1)[-1]

    def is_protected(self, now: datetime) -> bool:
        """Whether scale-in leaves it alone at ``now``."""
        return self.protected_until is not None and self.protected_until > now

    def counts_as_protected(self, now: datetime) -> bool:
        """Whether it may use up one protection of the desired count: an unknown worker may."""
        return self.is_protected(now) or self.phase is Phase.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The newest deployment of a service.

    Attributes:
        state: ``IN_PROGRESS``, ``COMPLETED`` or ``FAILED``; "" where ECS does not tell.
        reason: ECS's sentence about the state.
        failed_tasks: how many of its tasks did not start, or ended at once.
    """

    id: str
    state: str = ""
    reason: str = ""
    failed_tasks: int = 0
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event of a service, in ECS's words."""

    at: datetime
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One look at a fleet's ECS service.

    Attributes:
        desired: ``desiredCount``, as ECS said it.
        is_deploying: whether ECS is replacing workers; more of them than desired is normal then.
        workers: all its tasks, also the leaving and the stopped ones that ECS still remembers.
        rollout: its newest deployment; None is unknown.
        notices: its last events, newest first.
    """

    desired: int
    is_deploying: bool = False
    workers: tuple[Worker, ...] = ()
    rollout: Rollout | None = None
    notices: tuple[Notice, ...] = ()

    def is_outdated(self, worker: Worker) -> bool:
        """Whether a worker belongs to an older deployment than the newest."""
        if self.rollout is None or not worker.deployment_id:
            return False
        return worker.deployment_id != self.rollout.id

    @property
    def present(self) -> tuple[Worker, ...]:
        """The workers that count for ``desired``: starting, running, or unknown."""
        return tuple(w for w in self.workers if w.phase in (Phase.PENDING, Phase.RUNNING, Phase.UNKNOWN))

    def count(self, phase: Phase) -> int:
        """Return how many workers are in this phase."""
        return sum(1 for worker in self.workers if worker.phase is phase)

    def protected(self, now: datetime) -> int:
        """Return how many present workers are, or may be, protected."""
        return sum(1 for worker in self.present if worker.counts_as_protected(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """How much work one queue, or several together, hold.

    Attributes:
        callbacks: work of an executor that is no task instance (callbacks of Airflow 3.2 and later,
            connection tests of 3.3), waiting or running: nobody knows on which worker.
        admissible: scheduled tasks that the scheduler will queue next; 0 where that is not asked for.
        scheduled_by_pool: pool name to scheduled tasks; says what a full pool keeps waiting.
        busy_hosts: host name, as Airflow recorded it, to how many tasks are running or restarting there.
        oldest_queued_age_seconds: how long the oldest queued task has waited; None when none waits.
        doubt: why this queue may hold work that is not counted here, e.g. messages that only the
            broker knows; "" is no doubt. A doubted fleet keeps its last worker.
        is_contradicted: whether a second source was heard and has not agreed that there is nothing: then
            nothing here proves a worker idle.
    """

    queued: int = 0
    running: int = 0
    restarting: int = 0
    callbacks: int = 0
    admissible: int = 0
    scheduled_by_pool: Mapping[str, int] = field(default_factory=dict)
    oldest_queued_age_seconds: float | None = None
    busy_hosts: Mapping[str, int] = field(default_factory=dict)
    doubt: str = ""
    is_contradicted: bool = False

    @property
    def demand(self) -> int:
        """Work that holds a slot or will take one."""
        return self.queued + self.running + self.restarting + self.callbacks + self.admissible

    @property
    def in_flight(self) -> int:
        """Work that may be on its way to any worker, or be done by one without the source knowing by whom."""
        return self.queued + self.callbacks

    def plus(self, other: QueueDepth) -> QueueDepth:
        """Return both together."""
        ages = [d.oldest_queued_age_seconds for d in (self, other) if d.oldest_queued_age_seconds is not None]
        return QueueDepth(
            queued=self.queued + other.queued,
            running=self.running + other.running,
            restarting=self.restarting + other.restarting,
            callbacks=self.callbacks + other.callbacks,
            admissible=self.admissible + other.admissible,
            scheduled_by_pool=_sum(self.scheduled_by_pool, other.scheduled_by_pool),
            oldest_queued_age_seconds=max(ages, default=None),
            busy_hosts=_sum(self.busy_hosts, other.busy_hosts),
            doubt="; ".join(dict.fromkeys(doubt for doubt in (self.doubt, other.doubt) if doubt)),
            is_contradicted=self.is_contradicted or other.is_contradicted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """One task instance that a worker holds: running or restarting.

    Attributes:
        host: as Airflow recorded it; "" until the worker reported it.
        started_at: when this try began; None when the source does not say.
        heartbeat_at: when it was last heard of; None before Airflow 3, or when the source does not say.
    """

    host: str
    queue: str
    dag_id: str
    task_id: str
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedTasks:
    """Task instances of one name that wait in one queue."""

    queue: str
    dag_id: str
    task_id: str
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One consistent look at Airflow's queues.

    Attributes:
        taken_at: when, by the clock of whoever holds the data (aware, UTC).
        queues: by name; a queue without tasks is absent.
        is_complete: whether nothing was left out. Of an incomplete reading (the broker's counts while the
            database is down) only a higher demand is believed: it can raise a count, nothing else.
        other_busy_hosts: hosts of running tasks that no Celery executor runs, as far as is known, to how
            many: they are no demand, but a worker of ours that is named there is busy.
        limits: what keeps tasks from being queued; None when the source does not tell.
        running_tasks: who runs where and since when, for predictions; empty when the source does not tell.
        queued_tasks: who waits, for predictions; empty when the source does not tell.
    """

    taken_at: datetime
    queues: Mapping[str, QueueDepth]
    is_complete: bool = True
    other_busy_hosts: Mapping[str, int] = field(default_factory=dict)
    limits: Limits | None = None
    running_tasks: tuple[RunningTask, ...] = ()
    queued_tasks: tuple[QueuedTasks, ...] = ()

    def of(self, queues: Iterable[str]) -> QueueDepth:
        """Return these queues together."""
        total = QueueDepth()
        for queue in queues:
            total = total.plus(self.queues.get(queue, QueueDepth()))
        return total

    def hosts_outside(self, queues: Iterable[str]) -> dict[str, int]:
        """Return the busy hosts of everything but these queues, with how many tasks."""
        own = set(queues)
        total = dict(self.other_busy_hosts)
        for name, depth in self.queues.items():
            if name not in own:
                for host, count in depth.busy_hosts.items():
                    total[host] = total.get(host, 0) + count
        return total

    def orphans(self, consumed: Iterable[str]) -> dict[str, int]:
        """Return the queues that hold tasks and that no fleet consumes, with how many."""
        known = set(consumed)
        return {
            name: depth.demand
            for name, depth in sorted(self.queues.items())
            if name not in known and depth.demand
        }


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    total = dict(one)
    for name, count in other.items():
        total[name] = total.get(name, 0) + count
    return total
