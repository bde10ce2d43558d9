"""The life of one task: PROVISIONING, PENDING, RUNNING, DEACTIVATING, STOPPING, STOPPED.

Pure: each function takes a task and what happened, and returns the task after it. A step that comes late or
twice changes nothing, because runtimes report what they see when they see it.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from local_ecs.model import Container, LastStatus, StopCode, Task

PROVISIONING_SHARE = 0.2  # of the start delay: the network interface; the rest is the pull of the image
ESSENTIAL_EXITED_REASON = "Essential container in task exited"


def due_at(task: Task) -> datetime | None:
    """Return when time alone moves this task on; None when it waits for its runtime or has ended."""
    if task.last_status is LastStatus.PROVISIONING:
        return task.pending_due_at
    if task.last_status is LastStatus.PENDING and not task.launched:
        return task.start_due_at
    if task.last_status is LastStatus.DEACTIVATING:
        return task.stopping_at
    return None


def pulled(task: Task, now: datetime) -> Task:
    """Move a PROVISIONING task to PENDING once its network is ready."""
    if task.last_status is not LastStatus.PROVISIONING or now < task.pending_due_at:
        return task
    return _changed(task, last_status=LastStatus.PENDING, pull_started_at=task.pending_due_at)


def may_launch(task: Task, now: datetime) -> bool:
    """Whether the runtime is now to start its containers."""
    return task.last_status is LastStatus.PENDING and not task.launched and now >= task.start_due_at


def launched(task: Task, now: datetime) -> Task:
    """Note that the runtime was told to start it."""
    return _changed(task, launched=True, pull_stopped_at=now)


def started(task: Task, address: str, runtime_ids: Mapping[str, str], now: datetime) -> Task:
    """Note that all its containers run, at ``address``; ``runtime_ids`` by container name."""
    if task.last_status is not LastStatus.PENDING:
        return replace(task, address=address)
    containers = tuple(
        replace(container, last_status=LastStatus.RUNNING, runtime_id=runtime_ids.get(container.name))
        for container in task.containers
    )
    return _changed(
        task, last_status=LastStatus.RUNNING, started_at=now, address=address, containers=containers
    )


def failed_to_start(task: Task, reason: str, now: datetime) -> Task:
    """End a task whose containers could not be started."""
    if task.last_status is LastStatus.STOPPED:
        return task
    noted = task if not task.wanted else stopping(task, StopCode.FAILED_TO_START, reason, now)
    containers = tuple(replace(container, reason=reason) for container in noted.containers)
    return _ended(replace(noted, containers=containers), now)


def stopping(task: Task, code: StopCode, reason: str, now: datetime) -> Task:
    """Begin to end a task; the first reason is kept. One that never started ends at once."""
    if not task.wanted or task.last_status is LastStatus.STOPPED:
        return task
    noted = _changed(task, wanted=False, stop_code=code, stopped_reason=reason, stopping_at=now)
    if task.last_status is LastStatus.RUNNING:
        return replace(noted, last_status=LastStatus.DEACTIVATING)
    if task.launched:
        return replace(noted, last_status=LastStatus.STOPPING)
    return _ended(noted, now)


def signalled(task: Task) -> Task:
    """Note that a DEACTIVATING task's containers were told to end."""
    if task.last_status is not LastStatus.DEACTIVATING:
        return task
    return _changed(task, last_status=LastStatus.STOPPING)


def container_exited(task: Task, name: str, exit_code: int, now: datetime) -> Task:
    """Note that a container ended: an essential one takes the task with it, the last one ends it."""
    if task.last_status is LastStatus.STOPPED:
        return task
    containers = tuple(
        replace(container, last_status=LastStatus.STOPPED, exit_code=exit_code)
        if container.name == name
        else container
        for container in task.containers
    )
    noted = _changed(task, containers=containers)
    alive = [container for container in containers if container.exit_code is None]
    if not alive or any(_has_ended_essential(container, name) for container in containers):
        noted = stopping(noted, StopCode.ESSENTIAL_EXITED, ESSENTIAL_EXITED_REASON, now)
    return noted if alive else _ended(noted, now)


def _has_ended_essential(container: Container, name: str) -> bool:
    return container.name == name and container.essential


def _ended(task: Task, now: datetime) -> Task:
    containers = tuple(replace(container, last_status=LastStatus.STOPPED) for container in task.containers)
    return _changed(task, last_status=LastStatus.STOPPED, wanted=False, stopped_at=now, containers=containers)


def _changed(task: Task, **changes: object) -> Task:
    return replace(task, version=task.version + 1, **changes)  # type: ignore[arg-type]  # names are checked by the tests
