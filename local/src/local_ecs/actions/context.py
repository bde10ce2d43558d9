"""What every action works on, and the two things that many of them share: pages and tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from local_ecs.engine import Engine
from local_ecs.errors import InvalidParameterError
from local_ecs.faults import Faults
from local_ecs.model import JsonObject
from local_ecs.request import Request
from local_ecs.state import State
from local_ecs.wire import tags_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """An engine and the faults that strike partial answers."""

    engine: Engine
    faults: Faults

    @property
    def state(self) -> State:
        """What the engine knows."""
        return self.engine.state


def page(request: Request, arns: Sequence[str], *, member: str, default: int) -> JsonObject:
    """Return one page of ``arns``, in alphabetical order; ``nextToken`` is the last ARN of the page before.

    So a page never repeats and never skips what was there all the time, whatever comes and goes in between.

    Raises:
        InvalidParameterError: the token is none that this function gave.
    """
    size = request.number("maxResults", default, at_least=1, at_most=100)
    token = request.text("nextToken") or ""
    if token and not token.startswith("arn:"):
        raise InvalidParameterError("Invalid token.")
    left = sorted(arn for arn in arns if arn > token)
    answer: JsonObject = {member: left[:size]}
    if len(left) > size:
        answer["nextToken"] = left[size - 1]
    return answer


def wants_tags(request: Request) -> bool:
    """Whether ``include`` asks for tags."""
    return "TAGS" in request.texts("include")


def with_tags(context: Context, arn: str, document: JsonObject) -> JsonObject:
    """Return ``document`` with the resource's tags."""
    return {**document, "tags": tags_json(context.state.tags.get(arn, {}))}


def remember_tags(context: Context, arn: str, request: Request) -> None:
    """Store the tags that a request gives a new resource."""
    tags = request.pairs("tags", key="key")
    if tags:
        context.state.tags.setdefault(arn, {}).update(tags)
