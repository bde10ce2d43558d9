"""RunTask, StopTask, ListTasks, DescribeTasks."""

from __future__ import annotations

import json

from local_ecs.actions.context import Context, page, remember_tags, wants_tags, with_tags
from local_ecs.errors import ConflictError, InvalidParameterError, ServiceNotFoundError
from local_ecs.faults import PARTIAL_REASON
from local_ecs.model import JsonObject, ServiceKey, StopCode, Task, TaskDefinition
from local_ecs.request import Request
from local_ecs.state import RunToken, short_name
from local_ecs.wire import failure_json, task_json

MAX_RUN = 10
MAX_DESCRIBED = 100
DEFAULT_STOP_REASON = "Task stopped by user"


def run_task(context: Context, request: Request) -> JsonObject:
    """Start one to ten tasks of no service. With a ``clientToken`` the same request starts them once only."""
    state = context.state
    cluster = state.cluster(request.text("cluster"))
    definition = state.definition(request.required_text("taskDefinition"))
    overrides = request.object("overrides")
    _check_overrides(overrides, definition)
    count = request.number("count", 1, at_least=1, at_most=MAX_RUN)
    group = request.text("group") or f"family:{definition.family}"
    if group.startswith("service:"):
        raise InvalidParameterError("group must not begin with 'service:', that is for tasks of services.")
    token, fingerprint = request.text("clientToken"), json.dumps(request.document, sort_keys=True)
    earlier = state.run_tokens.get((cluster.name, token)) if token else None
    if earlier is not None:
        if earlier.fingerprint != fingerprint:
            raise ConflictError("The clientToken was used before with different parameters.")
        return _started(context, [known for each in earlier.task_ids if (known := state.task(cluster, each))])
    tasks = [
        context.engine.new_task(
            cluster=cluster.name,
            definition=definition,
            group=group,
            started_by=request.text("startedBy"),
            launch_type=request.text("launchType") or "FARGATE",
            overrides=overrides.document,
        )
        for _ in range(count)
    ]
    for task in tasks:
        remember_tags(context, task.arn, request)
    if token:
        state.run_tokens[cluster.name, token] = RunToken(
            fingerprint=fingerprint,
            task_ids=tuple(task.id for task in tasks),
            created_at=context.engine.clock.now(),
        )
    return _started(context, tasks)


def _started(context: Context, tasks: list[Task]) -> JsonObject:
    shown = [with_tags(context, task.arn, task_json(task, context.state)) for task in tasks]
    return {"tasks": shown, "failures": []}


def _check_overrides(overrides: Request, definition: TaskDefinition) -> None:
    known = {container.name for container in definition.containers}
    for each in overrides.objects("containerOverrides"):
        name = each.required_text("name")
        if name not in known:
            raise InvalidParameterError(
                f"Override for container named {name} is not a container in the TaskDefinition."
            )
        each.texts("command")
        each.pairs("environment")


def stop_task(context: Context, request: Request) -> JsonObject:
    """Stop a task, protected or not."""
    cluster = context.state.cluster(request.text("cluster"))
    task = context.state.task(cluster, request.required_text("task"))
    if task is None:
        raise InvalidParameterError("The referenced task was not found.")
    context.engine.stop_task(task, StopCode.USER, request.text("reason") or DEFAULT_STOP_REASON)
    context.engine.tick()
    stopped = context.state.task(cluster, task.id) or task
    return {"task": task_json(stopped, context.state)}


def list_tasks(context: Context, request: Request) -> JsonObject:
    """List the ARNs of tasks by cluster, service, family, ``startedBy``, launch type and desired status.

    Without ``desiredStatus`` only tasks that are to run are listed, as in ECS.
    """
    cluster = context.state.cluster(request.text("cluster"))
    status = request.text("desiredStatus") or "RUNNING"
    if status not in {"RUNNING", "PENDING", "STOPPED"}:
        raise InvalidParameterError(f"desiredStatus must be RUNNING, PENDING or STOPPED, not {status!r}.")
    service = request.text("serviceName")
    if service is not None and ServiceKey(cluster.name, short_name(service)) not in context.state.services:
        raise ServiceNotFoundError("Service not found.")
    filters = {
        "cluster": cluster.name,
        "service": None if service is None else short_name(service),
        "family": request.text("family"),
        "started_by": request.text("startedBy"),
        "launch_type": request.text("launchType"),
        # ECS never sets a desired status of PENDING: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
        "status": status,
    }
    arns = [task.arn for task in context.state.tasks() if _fits(task, filters)]
    return page(request, arns, member="taskArns", default=100)


def _fits(task: Task, filters: dict[str, str | None]) -> bool:
    values = {
        "cluster": task.cluster,
        "service": task.service,
        "family": task.definition.family,
        "started_by": task.started_by,
        "launch_type": task.launch_type,
        "status": "RUNNING" if task.wanted else "STOPPED",
    }
    return all(wanted is None or wanted == values[name] for name, wanted in filters.items())


def describe_tasks(context: Context, request: Request) -> JsonObject:
    """Describe up to a hundred tasks; unknown ones are failures."""
    cluster = context.state.cluster(request.text("cluster"))
    asked = request.required_texts("tasks", at_most=MAX_DESCRIBED)
    answered, struck = context.faults.split("DescribeTasks", asked)
    found = []
    missing = struck
    for name in answered:
        task = context.state.task(cluster, name)
        if task is None:
            missing = [*missing, name]
            continue
        document = task_json(task, context.state)
        found.append(with_tags(context, task.arn, document) if wants_tags(request) else document)
    failures = [
        failure_json(context.state.arns.of("task", f"{cluster.name}/{short_name(name)}"), PARTIAL_REASON)
        for name in missing
    ]
    return {"tasks": found, "failures": failures}
