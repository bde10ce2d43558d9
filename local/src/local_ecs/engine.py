"""The moving part: holds the state, lets time pass over it and drives a runtime.

Synchronous and single-threaded; whoever owns it calls :meth:`Engine.tick` after each change and whenever
time has passed. Nothing here speaks HTTP or JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from local_ecs import failures, lifecycle, scheduler
from local_ecs.clock import Clock
from local_ecs.model import (
    Container,
    ContainerDefinition,
    Deployment,
    Dice,
    LastStatus,
    Rules,
    Service,
    ServiceEvent,
    ServiceKey,
    StopCode,
    Task,
    TaskDefinition,
)
from local_ecs.runtimes.base import Exited, Launch, NotStarted, Report, Runtime, Started
from local_ecs.state import State

_ROUNDS_AT_ONE_MOMENT = 1000  # a bound for what a single instant may cause; reached only by an error here
SPOT_REASON = "Your Spot Task was interrupted."


@dataclass(slots=True, kw_only=True)
class Engine:
    """An ECS without its API.

    Attributes:
        endpoint: base URL that tasks reach this ECS under; set by the server once it knows its port.
    """

    runtime: Runtime
    clock: Clock
    dice: Dice
    rules: Rules = field(default_factory=Rules)
    endpoint: str = "http://127.0.0.1:0"
    state: State = field(default_factory=State)

    # ------------------------------------------------------------ what callers ask for
    def new_task(
        self,
        *,
        cluster: str,
        definition: TaskDefinition,
        group: str,
        service: Service | None = None,
        started_by: str | None = None,
        launch_type: str = "FARGATE",
        overrides: Mapping[str, Any] | None = None,
    ) -> Task:
        """Create a task; it starts as time passes."""
        now = self.clock.now()
        delay = self.rules.start_delay.draw(self.dice)
        task_id = f"{self.dice.getrandbits(128):032x}"
        task = Task(
            id=task_id,
            arn=self.state.arns.of("task", f"{cluster}/{task_id}"),
            cluster=cluster,
            definition=definition,
            containers=tuple(
                Container(name=each.name, image=each.image, essential=each.essential)
                for each in definition.containers
            ),
            created_at=now,
            pending_due_at=now + delay * lifecycle.PROVISIONING_SHARE,
            start_due_at=now + delay,
            availability_zone=self._emptiest_zone(group),
            group=group,
            service=service.key.name if service else None,
            deployment_id=service.primary.id if service else None,
            started_by=started_by,
            launch_type=launch_type,
            overrides=overrides or {},
        )
        self.state.put(task)
        return task

    def new_deployment(self, definition: TaskDefinition) -> Deployment:
        """Create the value of a deployment; the caller puts it into a service."""
        now = self.clock.now()
        return Deployment(id=self.new_deployment_id(), definition=definition, created_at=now, updated_at=now)

    def new_deployment_id(self) -> str:
        """Return an id as ECS gives them to deployments."""
        return f"ecs-svc/{self.dice.getrandbits(63):019d}"

    def stop_task(self, task: Task, code: StopCode, reason: str) -> Task:
        """Begin to end a task, protected or not."""
        stopping = lifecycle.stopping(task, code, reason, self.clock.now())
        self._put(stopping)
        return stopping

    def interrupt(self, task: Task) -> Task:
        """End a task the way a Spot interruption does."""
        return self.stop_task(task, StopCode.SPOT, SPOT_REASON)

    # ------------------------------------------------------------ time
    def tick(self) -> None:
        """Do everything that is due now. Idempotent; call it after every change and as time passes."""
        for _ in range(_ROUNDS_AT_ONE_MOMENT):
            now = self.clock.now()
            for report in self.runtime.poll(now):
                self._take(report, now)
            has_moved = self._move_tasks(now)
            is_quiet = self._schedule(now) and not has_moved
            due = self.next_due()
            if is_quiet and (due is None or due > now):
                self.state.forget_old(now, self.rules)
                return
        raise RuntimeError(
            f"{_ROUNDS_AT_ONE_MOMENT} rounds at one moment: the rules of local_ecs go in a circle"
        )

    def next_due(self) -> datetime | None:
        """Return when something happens by itself; None is never."""
        now = self.clock.now()
        overdue_or_later = [lifecycle.due_at(task) for task in self.state.live.values()]
        overdue_or_later.append(self.runtime.next_due())
        later = [task.protected_until for task in self.state.live.values()]
        if any(service.last_failure_at for service in self.state.services.values()):
            later += [self._proven_at(task) for task in self.state.live.values()]
        later += [service.retry_at for service in self.state.services.values()]
        moments = overdue_or_later + [moment for moment in later if moment is not None and moment > now]
        return min((moment for moment in moments if moment is not None), default=None)

    def _proven_at(self, task: Task) -> datetime | None:
        """Return when a running task will have stayed up long enough to forgive its service's failures."""
        key = task.service_key
        service = None if key is None else self.state.services.get(key)
        if (
            service is None
            or service.last_failure_at is None
            or task.started_at is None
            or not task.is_running
        ):
            return None
        return task.started_at + timedelta(seconds=self.rules.fast_failure_seconds)

    # ------------------------------------------------------------ steps of a tick
    def _take(self, report: Report, now: datetime) -> None:
        task = self.state.live.get(report.task_id)
        if task is None:
            return
        match report:
            case Started():
                self._put(lifecycle.started(task, report.address, report.runtime_ids, now))
            case NotStarted():
                self._put(lifecycle.failed_to_start(task, report.reason, now))
            case Exited():
                self._put(lifecycle.container_exited(task, report.container, report.exit_code, now))

    def _move_tasks(self, now: datetime) -> bool:
        """Take each task as far as time allows; return whether any moved: its runtime may have an answer."""
        has_moved = False
        for task in list(self.state.live.values()):
            moved = lifecycle.pulled(task, now)
            if lifecycle.may_launch(moved, now):
                moved = lifecycle.launched(moved, now)
                self.state.put(moved)
                self.runtime.start(self._launch(moved), now)
            elif moved.last_status is LastStatus.DEACTIVATING:
                moved = lifecycle.signalled(moved)
                self.runtime.stop(moved.id, now)
            if moved is not task:
                has_moved = True
                self._put(moved)
        return has_moved

    def _schedule(self, now: datetime) -> bool:
        """Let every service take its next step; return whether none had one to take."""
        is_quiet = True
        tasks = self.state.live_by_service()
        for key, service in list(self.state.services.items()):
            own = tasks.get(key, [])
            forgiven = failures.forgive(service, own, now=now, rules=self.rules)
            plan = scheduler.decide(forgiven, own, now=now, dice=self.dice)
            self.state.services[key] = plan.service
            is_quiet &= not (plan.start or plan.stop or plan.roll_back_to)
            self._carry_out(key, plan)
        return is_quiet

    def _carry_out(self, key: ServiceKey, plan: scheduler.Plan) -> None:
        stopped = [self.state.live[task_id] for task_id in plan.stop]
        for task in stopped:
            reason = f"Scaling activity initiated by (deployment {plan.service.primary.id})"
            self.stop_task(task, StopCode.SCHEDULER, reason)
        started = [
            self.new_task(
                cluster=key.cluster,
                definition=plan.service.primary.definition,
                group=f"service:{key.name}",
                service=plan.service,
                started_by=plan.service.primary.id,
                launch_type=plan.service.launch_type,
            )
            for _ in range(plan.start)
        ]
        told = [_count_tasks("started", started)] if started else []
        told += [_count_tasks("stopped", stopped)] if stopped else []
        self.tell(key, [*told, *plan.messages])
        if plan.roll_back_to is not None:
            self._roll_back(key, plan.roll_back_to)

    def _roll_back(self, key: ServiceKey, definition: TaskDefinition) -> None:
        deployment_id = self.new_deployment_id()
        failed = self.state.services[key]
        self.state.services[key] = scheduler.deploy(
            failed, definition, deployment_id=deployment_id, now=self.clock.now()
        )
        self.tell(key, [f"(deployment {failed.primary.id}) rolling back to deployment {deployment_id}."])

    def tell(self, key: ServiceKey, messages: Sequence[str]) -> None:
        """Add events to a service; only the last ones are kept."""
        now = self.clock.now()
        service = self.state.services[key]
        new = tuple(
            ServiceEvent(
                id=f"{self.dice.getrandbits(128):032x}",
                created_at=now,
                message=f"(service {key.name}) {message}",
            )
            for message in messages
        )
        if new:
            events = (*service.events, *new)[-self.rules.events_kept :]
            self.state.services[key] = replace(service, events=events)

    def _put(self, task: Task) -> None:
        """Store a changed task; when it has just ended, its service takes note."""
        has_ended = task.last_status is LastStatus.STOPPED and task.id in self.state.live
        self.state.put(task)
        key = task.service_key
        if not has_ended or key is None or key not in self.state.services:
            return
        noted, messages = failures.note_end(
            self.state.services[key], task, now=self.clock.now(), rules=self.rules
        )
        self.state.services[key] = replace(noted, is_steady=False)
        self.tell(key, messages)

    def _emptiest_zone(self, group: str) -> str:
        zones = dict.fromkeys(self.rules.availability_zones, 0)
        for task in self.state.live.values():
            if task.group == group:
                zones[task.availability_zone] += 1
        return min(zones, key=lambda zone: zones[zone])

    def _launch(self, task: Task) -> Launch:
        environment = {
            "ECS_AGENT_URI": f"{self.endpoint}/agent/{task.id}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{self.endpoint}/metadata/{task.id}",
            "AWS_EXECUTION_ENV": f"AWS_ECS_{task.launch_type}",
        }
        return Launch(
            task_id=task.id,
            log_group=task.service or task.definition.family,
            containers=tuple(_overridden(each, task.overrides) for each in task.definition.containers),
            environment=environment,
        )


def _count_tasks(what: str, tasks: Sequence[Task]) -> str:
    ids = " ".join(f"(task {task.id})" for task in tasks)
    noun = "tasks" if what == "started" else "running tasks"
    return f"has {what} {len(tasks)} {noun}: {ids}."


def _overridden(container: ContainerDefinition, overrides: Mapping[str, Any]) -> ContainerDefinition:
    """Return a container as RunTask's ``overrides`` want it: another command, more or other variables."""
    for override in overrides.get("containerOverrides", []):
        if override.get("name") == container.name:
            variables = {pair["name"]: pair["value"] for pair in override.get("environment", [])}
            command = tuple(override.get("command", container.command))
            return replace(container, command=command, environment={**container.environment, **variables})
    return container
