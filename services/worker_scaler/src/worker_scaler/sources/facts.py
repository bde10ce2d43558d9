"""From the statement's rows to a reading. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from worker_scaler.admissible import Waiting, with_admissible
from worker_scaler.executors import Executors
from worker_scaler.limits import Limits, Pool
from worker_scaler.model import QueueDepth, QueuedTasks, Reading, RunningTask


class Fact(NamedTuple):
    """One row. What a kind does not say is None; ``kind`` itself is None when there is nothing at all."""

    taken_at: datetime
    is_replica: bool
    kind: str | None
    queue: str | None = None
    executor: str | None = None
    state: str | None = None
    host: str | None = None
    dag_id: str | None = None
    task_id: str | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    pool: str | None = None
    tasks: int | None = None
    slots: int | None = None
    oldest_age_seconds: float | None = None


_TASKS = ("queued", "running", "scheduled")
_OTHER_WORK = ("callback", "connection_test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What only Airflow's configuration knows, and the settings repeat.

    Attributes:
        executors: whose tasks run on Celery workers.
        default_queue: ``[operators] default_queue``: where callbacks and connection tests go.
        parallelism: ``[core] parallelism`` of one scheduler; None is unknown.
        counts_admissible: whether scheduled tasks that will be queued next are demand.
    """

    executors: Executors = field(default_factory=Executors)
    default_queue: str = "default"
    parallelism: int | None = None
    counts_admissible: bool = False


def to_reading(facts: Sequence[Fact], meaning: Meaning) -> Reading | None:
    """Return what the rows say; None when there was not even the clock's row."""
    if not facts:
        return None
    work = [fact for fact in facts if fact.kind in (*_TASKS, *_OTHER_WORK)]
    by_queue: dict[str, list[Fact]] = defaultdict(list)
    elsewhere: Counter[str] = Counter()
    for fact in work:
        if meaning.executors.run_on_celery(fact.executor):
            by_queue[_queue(fact, meaning)].append(fact)
        elif fact.kind == "running":
            elsewhere[fact.host or ""] += fact.tasks or 0
    queues: Mapping[str, QueueDepth] = {name: _depth(rows) for name, rows in by_queue.items()}
    limits = _limits(facts, work, meaning)
    if meaning.counts_admissible:
        queues = with_admissible(queues, _waiting(work, meaning), limits)
    return Reading(
        taken_at=facts[0].taken_at.astimezone(UTC),
        queues=queues,
        other_busy_hosts=dict(elsewhere),
        limits=limits,
        running_tasks=tuple(_running_tasks(by_queue)),
        queued_tasks=tuple(_queued_tasks(by_queue)),
    )


def _queue(fact: Fact, meaning: Meaning) -> str:
    return fact.queue or (meaning.default_queue if fact.kind in _OTHER_WORK else "")


def _depth(facts: Iterable[Fact]) -> QueueDepth:
    """Sum up one queue."""
    tasks: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    scheduled: Counter[str] = Counter()
    ages: list[float] = []
    for fact in facts:
        count = fact.tasks or 0
        if fact.kind in _OTHER_WORK:
            tasks["callbacks"] += count
        elif fact.kind == "scheduled":
            scheduled[fact.pool or ""] += count
        else:
            tasks[fact.state or "queued"] += count
        if fact.kind == "running":
            hosts[fact.host or ""] += count
        if fact.oldest_age_seconds is not None and fact.state in (None, "queued"):
            ages.append(fact.oldest_age_seconds)
    return QueueDepth(
        queued=tasks["queued"],
        running=tasks["running"],
        restarting=tasks["restarting"],
        callbacks=tasks["callbacks"],
        scheduled_by_pool=dict(scheduled),
        oldest_queued_age_seconds=max(ages, default=None),
        busy_hosts=dict(hosts),
    )


def _limits(facts: Iterable[Fact], work: Iterable[Fact], meaning: Meaning) -> Limits:
    pools = {
        fact.pool: Pool(name=fact.pool, slots=fact.tasks or 0, used=fact.slots or 0)
        for fact in facts
        if fact.kind == "pool" and fact.pool
    }
    schedulers = next((fact.tasks for fact in facts if fact.kind == "schedulers"), None)
    return Limits(
        pools=pools,
        parallelism=meaning.parallelism * schedulers if meaning.parallelism and schedulers else None,
        executing=sum(fact.tasks or 0 for fact in work if fact.kind != "scheduled"),
    )


def _waiting(work: Iterable[Fact], meaning: Meaning) -> list[Waiting]:
    return [
        Waiting(
            queue=_queue(fact, meaning) if meaning.executors.run_on_celery(fact.executor) else None,
            pool=fact.pool or "",
            tasks=fact.tasks or 0,
            slots=fact.slots or 0,
        )
        for fact in work
        if fact.kind == "scheduled"
    ]


def _running_tasks(by_queue: Mapping[str, Iterable[Fact]]) -> Iterable[RunningTask]:
    for queue, facts in by_queue.items():
        for fact in facts:
            if fact.kind == "running" and fact.dag_id is not None and fact.task_id is not None:
                yield RunningTask(
                    host=fact.host or "",
                    queue=queue,
                    dag_id=fact.dag_id,
                    task_id=fact.task_id,
                    started_at=fact.started_at,
                    heartbeat_at=fact.heartbeat_at,
                )


def _queued_tasks(by_queue: Mapping[str, Iterable[Fact]]) -> Iterable[QueuedTasks]:
    for queue, facts in by_queue.items():
        for fact in facts:
            if fact.kind == "queued" and fact.dag_id is not None and fact.task_id is not None:
                yield QueuedTasks(
                    queue=queue, dag_id=fact.dag_id, task_id=fact.task_id, tasks=fact.tasks or 0
                )
