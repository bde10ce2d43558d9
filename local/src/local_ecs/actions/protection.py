"""UpdateTaskProtection, GetTaskProtection."""

from __future__ import annotations

from local_ecs import protection as rules
from local_ecs.actions.context import Context
from local_ecs.faults import PARTIAL_REASON
from local_ecs.model import Cluster, JsonObject, Task
from local_ecs.request import Request
from local_ecs.state import short_name
from local_ecs.wire import failure_json, protected_json, refused_json


def update_task_protection(context: Context, request: Request) -> JsonObject:
    """Protect up to ten tasks of services or release them; each succeeds or fails by itself."""
    cluster = _cluster(context, request)
    asked = request.required_texts("tasks", at_most=rules.MAX_TASKS_PER_UPDATE)
    is_wanted = request.flag("protectionEnabled")
    default, longest = rules.DEFAULT_EXPIRES_MINUTES, rules.MAX_EXPIRES_MINUTES
    minutes = request.number("expiresInMinutes", default, at_least=1, at_most=longest)
    now = context.engine.clock.now()
    answered, struck = context.faults.split("UpdateTaskProtection", asked)
    protected, failures = [], [failure_json(_arn(context, cluster, name), PARTIAL_REASON) for name in struck]
    for name in answered:
        task = context.state.task(cluster, name)
        outcome = _change(context, task, minutes=minutes if is_wanted else None)
        if isinstance(outcome, rules.Refused):
            failures.append(refused_json(_arn(context, cluster, name), outcome))
        else:
            context.state.put(outcome)
            protected.append(protected_json(outcome, now))
    context.engine.tick()
    return {"protectedTasks": protected, "failures": failures}


def _change(context: Context, task: Task | None, *, minutes: int | None) -> Task | rules.Refused:
    """Protect a task for ``minutes``; None takes its protection off."""
    refused = rules.refuse_read(task)
    if refused is not None or task is None or (key := task.service_key) is None:
        return refused or rules.Refused(reason=rules.Refusal.MISSING, detail="The task was not found.")
    if minutes is None:
        return rules.release(task)
    siblings = [each for each in context.state.live.values() if each.service_key == key]
    service = context.state.services[key]
    return rules.protect(task, service, siblings, minutes=minutes, now=context.engine.clock.now())


def get_task_protection(context: Context, request: Request) -> JsonObject:
    """Return the protection of up to a hundred tasks of services."""
    cluster = _cluster(context, request)
    asked = request.required_texts("tasks", at_most=rules.MAX_TASKS_PER_GET)
    answered, struck = context.faults.split("GetTaskProtection", asked)
    now = context.engine.clock.now()
    protected, failures = [], [failure_json(_arn(context, cluster, name), PARTIAL_REASON) for name in struck]
    for name in answered:
        task = context.state.task(cluster, name)
        refused = rules.refuse_read(task)
        if refused is not None or task is None:
            reason = refused or rules.Refused(reason=rules.Refusal.MISSING, detail="The task was not found.")
            failures.append(refused_json(_arn(context, cluster, name), reason))
        else:
            protected.append(protected_json(task, now))
    return {"protectedTasks": protected, "failures": failures}


def _cluster(context: Context, request: Request) -> Cluster:
    return context.state.cluster(request.required_text("cluster"))


def _arn(context: Context, cluster: Cluster, name: str) -> str:
    return context.state.arns.of("task", f"{cluster.name}/{short_name(name)}")
