"""RegisterTaskDefinition, DescribeTaskDefinition."""

from __future__ import annotations

from local_ecs.actions.context import Context, remember_tags, wants_tags, with_tags
from local_ecs.errors import ClientError
from local_ecs.model import ContainerDefinition, JsonObject, TaskDefinition
from local_ecs.request import Request
from local_ecs.wire import definition_json, tags_json

DEFAULT_STOP_TIMEOUT_SECONDS = 30
# Fargate allows 120 at most; a definition that the real ECS refuses must not pass here.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
MAX_FARGATE_STOP_TIMEOUT_SECONDS = 120
_NO_LIMIT_SECONDS = 86_400 * 7


def register_task_definition(context: Context, request: Request) -> JsonObject:
    """Register the next revision of a family."""
    family = request.required_text("family")
    is_fargate = "FARGATE" in request.texts("requiresCompatibilities")
    containers = tuple(
        _container(each, is_fargate=is_fargate) for each in request.objects("containerDefinitions")
    )
    names = [container.name for container in containers]
    if not containers:
        raise ClientError("Container list cannot be empty.")
    if len(set(names)) != len(names):
        raise ClientError(f"Container names must be unique, they are {', '.join(names)}.")
    if not any(container.essential for container in containers):
        raise ClientError("At least one container has to be essential.")
    revisions = context.state.definitions.setdefault(family, [])
    revision = len(revisions) + 1
    definition = TaskDefinition(
        arn=context.state.arns.of("task-definition", f"{family}:{revision}"),
        family=family,
        revision=revision,
        containers=containers,
        registered_at=context.engine.clock.now(),
        document=request.document,
    )
    revisions.append(definition)
    remember_tags(context, definition.arn, request)
    return {
        "taskDefinition": definition_json(definition),
        "tags": tags_json(context.state.tags.get(definition.arn, {})),
    }


def describe_task_definition(context: Context, request: Request) -> JsonObject:
    """Describe ``family``, ``family:revision`` or an ARN."""
    definition = context.state.definition(request.required_text("taskDefinition"))
    answer = {"taskDefinition": definition_json(definition)}
    return with_tags(context, definition.arn, answer) if wants_tags(request) else answer


def _container(request: Request, *, is_fargate: bool) -> ContainerDefinition:
    longest = MAX_FARGATE_STOP_TIMEOUT_SECONDS if is_fargate else _NO_LIMIT_SECONDS
    timeout = request.number("stopTimeout", DEFAULT_STOP_TIMEOUT_SECONDS, at_least=0, at_most=longest)
    return ContainerDefinition(
        name=request.required_text("name"),
        image=request.text("image") or "",
        entry_point=tuple(request.texts("entryPoint")),
        command=tuple(request.texts("command")),
        environment=request.pairs("environment"),
        essential=request.flag("essential", default=True),
        stop_timeout_seconds=timeout,
        working_directory=request.text("workingDirectory"),
        secrets=tuple(request.pairs("secrets", value="valueFrom")),
    )
