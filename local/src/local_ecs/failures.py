"""Tasks that will not stay up: how long to wait before the next try, when to give a deployment up.

Pure. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from local_ecs.model import RolloutState, Rules, Service, StopCode, Task

BREAKER_SHARE = 0.5  # of the desired count
BREAKER_MIN_FAILURES = 3
BREAKER_MAX_FAILURES = 200
CANNOT_START = (
    "is unable to consistently start tasks successfully. For more information, see the"
    " Troubleshooting section of the Amazon ECS Developer Guide."
)


def is_fast_failure(task: Task, rules: Rules) -> bool:
    """Whether a task's end speaks against its definition: it did not start, or ended by itself at once."""
    if task.stop_code is StopCode.FAILED_TO_START:
        return True
    if task.stop_code is not StopCode.ESSENTIAL_EXITED or task.started_at is None or task.stopping_at is None:
        return False
    return task.stopping_at - task.started_at < timedelta(seconds=rules.fast_failure_seconds)


def note_end(service: Service, task: Task, *, now: datetime, rules: Rules) -> tuple[Service, tuple[str, ...]]:
    """Return the service after ``task`` of it ended, and new events.

    Tasks of one wave (created before the last failure was noted) count once, so that twenty tasks with the
    same bad image are one reason to wait, not twenty.
    """
    if not is_fast_failure(task, rules):
        return service, ()
    noted, messages = _note_deployment(service, task)
    is_same_wave = service.last_failure_at is not None and task.created_at < service.last_failure_at
    if is_same_wave:
        return noted, messages
    failures = service.consecutive_failures + 1
    noted = replace(noted, consecutive_failures=failures, last_failure_at=now)
    doublings = failures - rules.immediate_retries - 1
    if doublings < 0:
        return noted, messages
    pause = min(rules.backoff_max_seconds, rules.backoff_base_seconds * 2.0 ** min(doublings, 64))
    return replace(noted, retry_at=now + timedelta(seconds=pause)), (*messages, CANNOT_START)


def forgive(service: Service, tasks: Sequence[Task], *, now: datetime, rules: Rules) -> Service:
    """Forget earlier failures once a task that was started after them stayed up."""
    if service.last_failure_at is None:
        return service
    proven_before = now - timedelta(seconds=rules.fast_failure_seconds)
    for task in tasks:
        if task.is_running and task.started_at is not None:
            started_after_failure = task.created_at >= service.last_failure_at
            if started_after_failure and task.started_at <= proven_before:
                return replace(service, consecutive_failures=0, last_failure_at=None, retry_at=None)
    return service


def _note_deployment(service: Service, task: Task) -> tuple[Service, tuple[str, ...]]:
    """Count the failure for its deployment, and open the circuit breaker when there are too many."""
    primary = service.primary
    if task.deployment_id != primary.id or primary.rollout_state is not RolloutState.IN_PROGRESS:
        return service, ()
    counted = replace(primary, failed_tasks=primary.failed_tasks + 1)
    threshold = math.ceil(BREAKER_SHARE * service.desired_count)
    threshold = min(BREAKER_MAX_FAILURES, max(BREAKER_MIN_FAILURES, threshold))
    messages: tuple[str, ...] = ()
    if service.rollout.circuit_breaker and counted.failed_tasks >= threshold:
        reason = "ECS deployment circuit breaker: tasks failed to start."
        counted = replace(counted, rollout_state=RolloutState.FAILED, rollout_reason=reason)
        messages = (f"(deployment {primary.id}) deployment failed: tasks failed to start.",)
    return replace(service, deployments=(counted, *service.deployments[1:])), messages
