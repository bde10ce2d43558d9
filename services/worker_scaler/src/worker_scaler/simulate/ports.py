"""The simulated world as the scaler sees the real one: through the same ports.

Every answer costs the calls that ECS would have been asked, so that they can be counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from worker_scaler.agent import HOLDER, ORDER_SECONDS, AgentPhase, AgentState, Order
from worker_scaler.agents import Answers
from worker_scaler.model import Fleet, Phase, QueueDepth, QueuedTasks, Reading, RunningTask, Sighting, Worker
from worker_scaler.simulate.ecs import Status, Task
from worker_scaler.simulate.moments import moment
from worker_scaler.simulate.past import QUEUE
from worker_scaler.simulate.world import REPORT_SECONDS, Job, World
from worker_scaler.steps import Refusal

DESCRIBED_PER_CALL = 100
_ARN = "arn:aws:ecs:us-east-1:123456789012:task/simulated/"
_PHASES = {
    Status.STARTING: Phase.PENDING,
    Status.RUNNING: Phase.RUNNING,
    Status.STOPPING: Phase.LEAVING,
    Status.STOPPED: Phase.STOPPED,
}


class SimulatedServices:
    """Implements the scaler's ``Services`` port on a world with one service."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: dict[str, tuple[int, Worker]] = {}

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting]:
        """Return the service as it is now, under each fleet's name."""
        sighting = self._look()
        return {fleet.name: sighting for fleet in fleets}

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Protect workers, or renew it."""
        del fleet
        world = self._world
        world.measure.calls["UpdateTaskProtection"] += 1
        answers = [(arn, world.service.protect(_id(arn), minutes * 60.0, world.now)) for arn in arns]
        return _refusals(answers)

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Take the protection off."""
        del fleet
        world = self._world
        world.measure.calls["UpdateTaskProtection"] += 1
        return _refusals([(arn, world.service.unprotect(_id(arn), world.now)) for arn in arns])

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Set the desired count."""
        del fleet
        self._world.measure.calls["UpdateService"] += 1
        self._world.service.set_desired(count, self._world.now)

    def _look(self) -> Sighting:
        service, calls = self._world.service, self._world.measure.calls
        running = sum(1 for task in service.live.values() if task.status is Status.RUNNING)
        calls["DescribeServices"] += 1
        calls["ListTasks"] += 2  # the wanted ones, and the stopped ones
        calls["DescribeTasks"] += math.ceil(len(service.live) / DESCRIBED_PER_CALL)
        calls["GetTaskProtection"] += math.ceil(running / DESCRIBED_PER_CALL)
        tasks = [*service.live.values(), *service.stopped.values()]
        seen = {task.id: self._worker(task) for task in tasks}
        self._seen = seen
        return Sighting(desired=service.desired, workers=tuple(worker for _, worker in seen.values()))

    def _worker(self, task: Task) -> tuple[int, Worker]:
        """Return a worker as ECS describes it; the value of an unchanged one is used again."""
        known = self._seen.get(task.id)
        if known is not None and known[0] == task.version:
            return known
        has_started = task.started_at < math.inf
        is_gone = task.status is Status.STOPPED
        stops = task.status >= Status.STOPPING
        return task.version, Worker(
            arn=f"{_ARN}{task.id}",
            phase=_PHASES[task.status],
            created_at=moment(task.created_at),
            started_at=moment(task.started_at) if has_started else None,
            stopped_at=moment(task.stopped_at) if is_gone else None,
            protected_until=moment(task.protected_until) if task.protected_until > 0 else None,
            stop_code="ServiceSchedulerInitiated" if stops else "",
            stop_reason="Scaling activity initiated by (deployment ecs-svc/1)" if stops else "",
        )


class SimulatedAgents:
    """Implements the scaler's ``Agents`` port: every running worker has an agent, and it answers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ask(self, fleet: Fleet, workers: Sequence[Worker]) -> Answers:
        """Return how the workers are; their orders are kept alive."""
        del fleet
        found = [(worker.arn, self._world.service.live.get(worker.task_id)) for worker in workers]
        return Answers(states={arn: self._state(task) for arn, task in found if task is not None})

    def order(self, fleet: Fleet, workers: Sequence[Worker], order: Order) -> Answers:
        """Give an order; it takes effect at once, but for a poll that is open."""
        for worker in workers:
            task = self._world.service.live.get(worker.task_id)
            if task is not None:
                self._world.order(task, cordon=order is Order.CORDON)
        return self.ask(fleet, workers)

    def _state(self, task: Task) -> AgentState:
        if task.status is Status.STOPPING:
            phase = AgentPhase.STOPPING
        elif not task.is_cordoned:
            phase = AgentPhase.WORKING
        else:
            phase = AgentPhase.QUIET if self._world.is_quiet(task) else AgentPhase.CORDONED
        return AgentState(
            phase=phase,
            hostname=task.id,
            active_tasks=len(task.running),
            order=Order.CORDON if task.is_cordoned else Order.WORK,
            order_until=moment(self._world.now) + timedelta(seconds=ORDER_SECONDS),
            order_holder=HOLDER,
        )


class SimulatedSource:
    """Implements the scaler's ``Source`` port: what Airflow's database would say of the world now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._running: dict[Job, RunningTask] = {}

    def read(self) -> Reading:
        """Return one look at the queue, with the tasks by name."""
        world = self._world
        waiting: Counter[tuple[str, str]] = Counter(_names(job) for job in world.queue)
        hosts: Counter[str] = Counter()
        running: dict[Job, RunningTask] = {}
        for task in world.service.live.values():
            for job, began in task.running.items():
                if began + REPORT_SECONDS > world.now:
                    waiting[_names(job)] += 1  # its worker has not reported it yet
                else:
                    hosts[task.id] += 1
                    running[job] = self._running.get(job) or _running_task(job, task.id, began)
        for job, dead in world.zombies.items():
            hosts[dead.id] += 1
            running[job] = _running_task(job, dead.id, job[2])
        self._running = running
        queued = sum(waiting.values())
        depth = QueueDepth(
            queued=queued,
            running=len(running),
            oldest_queued_age_seconds=world.now - world.queue[0][2] if world.queue else None,
            busy_hosts=dict(hosts),
        )
        return Reading(
            taken_at=moment(world.now),
            queues={QUEUE: depth} if depth.demand else {},
            running_tasks=tuple(running.values()),
            queued_tasks=tuple(
                QueuedTasks(queue=QUEUE, dag_id=dag, task_id=task, tasks=count)
                for (dag, task), count in waiting.items()
            ),
        )


def _names(job: Job) -> tuple[str, str]:
    progress, task, _ = job
    return progress.dag.name, progress.dag.task_ids[task]


def _running_task(job: Job, host: str, began: float) -> RunningTask:
    dag, task = _names(job)
    return RunningTask(host=host, queue=QUEUE, dag_id=dag, task_id=task, started_at=moment(began))


def _id(arn: str) -> str:
    return arn.removeprefix(_ARN)


def _refusals(answers: Iterable[tuple[str, str | None]]) -> tuple[Refusal, ...]:
    return tuple(Refusal(arn=arn, reason=reason) for arn, reason in answers if reason is not None)
