"""Everything the scaler steers, on virtual time: Airflow's scheduler, one SQS queue, Celery workers, ECS.

An event queue and nothing else moves the time, so days pass in seconds. What is true of the real thing and is
played here, because it decides what scaling costs:

- A poll brings up to ten messages, and which worker's poll comes next is chance: work spreads over workers.
- A worker that is told to stop ends its tasks; what is not ended after the stop timeout is killed, and
  Airflow runs it again once it misses the heartbeats.
- The database says ``queued`` until a worker has reported the task.
- A cordoned worker's open poll may still bring messages until it returns.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

from worker_scaler.simulate.ecs import Service, StartLatency, Status, Task
from worker_scaler.simulate.measure import Measure
from worker_scaler.simulate.workload import Dag, DagRun, Workload

POLL_MESSAGES = 10
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html"""
POLL_SECONDS = 10.0  # kombu's wait_time_seconds: how long an open poll lasts
STOP_TIMEOUT_SECONDS = 120.0
"""Fargate's most: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html"""
HEARTBEAT_TIMEOUT_SECONDS = 300.0
"""``[scheduler] task_instance_heartbeat_timeout``: when Airflow gives up a killed task and runs it again."""
REPORT_SECONDS = 1.5  # from a message's receipt to ``running`` with a host name in the database: 1 to 3 s
SELF_PROTECTION_RETRY_SECONDS = 5.0
STOPPED_KEPT_SECONDS = (
    600.0  # ECS describes a stopped task for an hour; nobody asks after the heartbeat timeout
)
SELF_PROTECTION_SECONDS = 3600.0
TO_ZERO_SECONDS = 3600.0  # after the last task; a policy that keeps a worker for ever is not waited for


class Progress:
    """One DAG run under way: how many parents each task still waits for."""

    __slots__ = ("dag", "index", "left", "missing", "run")

    def __init__(self, index: int, run: DagRun, dag: Dag) -> None:
        self.index = index
        self.run = run
        self.dag = dag
        self.missing = list(dag.parents)
        self.left = len(dag.parents)


Job: TypeAlias = tuple[Progress, int, float]
"""A task instance: its run, its index in the DAG, when it was queued."""


class Controller(Protocol):
    """Who steers the simulated service: the scaler itself, or a rule to compare it with."""

    has_agents: bool
    """Whether the workers have the agent: they protect themselves, and can be cordoned."""

    def tick(self, world: World) -> None:
        """Look and act, once."""

    def close(self) -> None:
        """Let go of what it holds; called once, after the last tick."""


class Event(IntEnum):
    """What can be due."""

    RUN_BEGINS = 0
    TASK_READY = 1
    TASK_ENDS = 2
    WORKER_STARTS = 3
    WORKER_TIMES_OUT = 4
    POLL_ENDS = 5
    PROTECTS_ITSELF = 6
    TICK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The numbers of the simulated world."""

    tasks_per_worker: int = 16
    tick_seconds: float = 10.0
    latency: StartLatency = field(default_factory=StartLatency)


class World:
    """One simulation. Build it, :meth:`play` it, read :attr:`measure`.

    Args:
        workload: what arrives.
        seed: of everything that chance decides here: latencies, victims, who gets a message.
        terms: the numbers.
    """

    def __init__(self, workload: Workload, *, seed: int, terms: Terms) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - chance that can be repeated, nothing secret
        self._events: list[tuple[float, int, Event, Any]] = []
        self._sequence = 0
        self._polling: list[Task] = []
        self._controller: Controller | None = None
        self._handlers: tuple[Callable[[Any], None], ...] = (
            self._run_begins,
            self._queue_and_dispatch,
            self._task_ends,
            self._worker_starts,
            self._worker_times_out,
            self._poll_ends,
            self._protect_itself,
            self._tick,
        )
        self.workload = workload
        self.terms = terms
        self.now = 0.0
        self.queue: deque[Job] = deque()
        self.zombies: dict[Job, Task] = {}
        self.executing = 0
        self.unfinished = 0
        self.measure = Measure()
        self.service = Service(
            dice=self._dice,
            latency=terms.latency,
            slots=terms.tasks_per_worker,
            will_start=self._will_start,
            stops=self._stops,
        )
        self.finished: list[tuple[Progress, int, float]] = []  # what the history has not seen yet

    # ------------------------------------------------------------ time
    def play(self, controller: Controller) -> None:
        """Let time pass until all work is done and the service is at zero; then the controller is closed."""
        self._controller = controller
        for index, run in enumerate(self.workload.runs):
            self._at(run.at_seconds, Event.RUN_BEGINS, (index, run))
        self.unfinished = len(self.workload.runs)
        self._at(0.0, Event.TICK, None)
        events, handlers = self._events, self._handlers
        try:
            while events:
                self.now, _, kind, subject = heapq.heappop(events)
                handlers[kind](subject)
        finally:
            controller.close()
        self.measure.ended_at = self.now
        self.measure.is_at_zero = not self.service.live
        for worker in list(self.service.live.values()):
            self.service.gone(worker, self.now)
        self.measure.billed_seconds = self.service.billed_seconds

    def _at(self, moment: float, kind: Event, subject: object) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (moment, self._sequence, kind, subject))

    def _tick(self, _: None) -> None:
        self.service.settle(self.now)  # for the protections that have lapsed
        if self._controller is not None:
            self._controller.tick(self)
        self.service.forget(self.now - STOPPED_KEPT_SECONDS)
        self.measure.sample(self)
        if not self.unfinished:
            self.measure.work_done(self.now)
        done_at = self.measure.done_at
        is_over = done_at is not None and self.now >= done_at + TO_ZERO_SECONDS
        if not is_over and (self.unfinished or self.service.live or self.service.desired):
            self._at(self.now + self.terms.tick_seconds, Event.TICK, None)

    # ------------------------------------------------------------ Airflow
    def _run_begins(self, subject: tuple[int, DagRun]) -> None:
        index, run = subject
        progress = Progress(index, run, self.workload.dags[run.dag])
        for task in progress.dag.roots:
            self._make_ready(progress, task)
        self._dispatch()

    def _make_ready(self, progress: Progress, task: int) -> None:
        ready = progress.run.ready_seconds
        if ready and ready[task] > self.now:
            self._at(ready[task], Event.TASK_READY, (progress, task))
        else:
            self.queue.append((progress, task, self.now))

    def _queue_and_dispatch(self, subject: tuple[Progress, int]) -> None:
        self.zombies = {job: dead for job, dead in self.zombies.items() if job[:2] != subject}
        self.queue.append((*subject, self.now))
        self._dispatch()

    def _task_ends(self, subject: tuple[Task, Job]) -> None:
        worker, job = subject
        began = worker.running.pop(job, None)
        if began is None:
            return  # it was killed before
        progress, task, _ = job
        self.executing -= 1
        self.finished.append((progress, task, self.now - began))
        progress.left -= 1
        if not progress.left:
            self.unfinished -= 1
        for child in progress.dag.children[task]:
            progress.missing[child] -= 1
            if not progress.missing[child]:
                self._make_ready(progress, child)
        worker.free += 1
        if worker.status is Status.STOPPING:
            if not worker.running:
                self.service.gone(worker, self.now)
        else:
            self._open_poll(worker)
        if self.queue:
            self._dispatch()

    # ------------------------------------------------------------ SQS and Celery
    def _dispatch(self) -> None:
        """Hand the messages to whose poll comes next, which is chance."""
        queue, polling, chance = self.queue, self._polling, self._dice.random
        while queue and polling:
            worker = polling[int(chance() * len(polling))]
            for _ in range(min(POLL_MESSAGES, worker.free, len(queue))):
                self._begin(worker, queue.popleft())
            if worker.is_cordoned:
                worker.polls_until = -math.inf
            if not worker.free or worker.is_cordoned:
                self._close_poll(worker)

    def _begin(self, worker: Task, job: Job) -> None:
        progress, task, queued_at = job
        self.measure.waited(self.now - queued_at, is_first=not progress.dag.parents[task])
        worker.free -= 1
        worker.running[job] = self.now
        self.executing += 1
        self._at(self.now + progress.run.seconds[task], Event.TASK_ENDS, (worker, job))

    def _open_poll(self, worker: Task) -> None:
        may_poll = worker.status is Status.RUNNING and not worker.is_cordoned and self._may_work(worker)
        if may_poll and worker.free and worker.place < 0:
            worker.place = len(self._polling)
            self._polling.append(worker)

    def _close_poll(self, worker: Task) -> None:
        if worker.place >= 0:
            last = self._polling.pop()
            if last is not worker:
                self._polling[worker.place] = last
                last.place = worker.place
            worker.place = -1

    def _poll_ends(self, worker: Task) -> None:
        if worker.is_cordoned and worker.polls_until <= self.now:
            self._close_poll(worker)

    # ------------------------------------------------------------ the worker's agent
    def order(self, worker: Task, *, cordon: bool) -> None:
        """Cordon a worker or let it work again; repeating it changes nothing."""
        if worker.status is not Status.RUNNING:
            return
        if cordon and not worker.is_cordoned:
            worker.is_cordoned = True
            if worker.place >= 0:
                worker.polls_until = self.now + self._dice.random() * POLL_SECONDS
                self._at(worker.polls_until, Event.POLL_ENDS, worker)
        elif not cordon and worker.is_cordoned:
            worker.is_cordoned = False
            worker.polls_until = -math.inf
            self._protect_itself(worker)

    def is_quiet(self, worker: Task) -> bool:
        """Whether a cordoned worker holds nothing and nothing can come."""
        return worker.is_cordoned and not worker.running and worker.place < 0

    def _may_work(self, worker: Task) -> bool:
        agents = self._controller is not None and self._controller.has_agents
        return not agents or worker.protected_until > self.now

    def _protect_itself(self, worker: Task) -> None:
        """Take work only under a protection that ECS confirmed; ask again while it refuses."""
        if worker.status is not Status.RUNNING or worker.is_cordoned:
            return
        if not self._may_work(worker):
            self.measure.calls["UpdateTaskProtection"] += 1
            if self.service.protect(worker.id, SELF_PROTECTION_SECONDS, self.now) is not None:
                self._at(self.now + SELF_PROTECTION_RETRY_SECONDS, Event.PROTECTS_ITSELF, worker)
                return
        self._open_poll(worker)
        if self.queue:
            self._dispatch()

    # ------------------------------------------------------------ ECS
    def _will_start(self, worker: Task) -> None:
        self.measure.started += 1
        self._at(worker.due_at, Event.WORKER_STARTS, worker)

    def _worker_starts(self, worker: Task) -> None:
        if self.service.started(worker, self.now):
            self._protect_itself(worker)

    def _stops(self, worker: Task) -> None:
        self._close_poll(worker)
        if worker.running:
            self._at(self.now + STOP_TIMEOUT_SECONDS, Event.WORKER_TIMES_OUT, worker)
        else:
            self.service.gone(worker, self.now)

    def _worker_times_out(self, worker: Task) -> None:
        if worker.status is not Status.STOPPING:
            return
        for job, began in worker.running.items():
            self.measure.killed(self.now - began)
            self.executing -= 1
            self.zombies[job] = worker
            self._at(self.now + HEARTBEAT_TIMEOUT_SECONDS, Event.TASK_READY, job[:2])
        worker.running = {}
        self.service.gone(worker, self.now)
