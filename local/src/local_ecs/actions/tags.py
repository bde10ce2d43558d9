"""TagResource, UntagResource, ListTagsForResource."""

from __future__ import annotations

from local_ecs.actions.context import Context, remember_tags
from local_ecs.model import JsonObject
from local_ecs.request import Request
from local_ecs.wire import tags_json


def tag_resource(context: Context, request: Request) -> JsonObject:
    """Add tags, or give those that are there another value."""
    remember_tags(context, _arn(context, request), request)
    return {}


def untag_resource(context: Context, request: Request) -> JsonObject:
    """Take tags off; those that are not there are no error."""
    tags = context.state.tags.get(_arn(context, request), {})
    for key in request.texts("tagKeys"):
        tags.pop(key, None)
    return {}


def list_tags_for_resource(context: Context, request: Request) -> JsonObject:
    """Return a resource's tags."""
    return {"tags": tags_json(context.state.tags.get(_arn(context, request), {}))}


def _arn(context: Context, request: Request) -> str:
    arn = request.required_text("resourceArn")
    context.state.require_known_arn(arn)
    return arn
