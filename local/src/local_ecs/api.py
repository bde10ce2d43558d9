"""One door for every request: of boto3 over HTTP, of the agent endpoint, of a test in this process."""

from __future__ import annotations

from collections import Counter

from local_ecs.actions import ACTIONS
from local_ecs.actions.context import Context
from local_ecs.engine import Engine
from local_ecs.errors import ServerError, UnknownActionError
from local_ecs.faults import Faults
from local_ecs.model import JsonObject
from local_ecs.request import Request
from local_ecs.throttle import Throttle


class Api:
    """The ECS API over an engine.

    Attributes:
        requests: how many requests came, by action, also those that were refused.
        throttle: None lets every request through.
        is_closing: while True every request is refused, for the process is about to end.
    """

    def __init__(self, engine: Engine, *, throttle: Throttle | None = None) -> None:
        self.engine = engine
        self.faults = Faults(engine.dice)
        self.throttle = throttle
        self.requests: Counter[str] = Counter()
        self.is_closing = False
        self._context = Context(engine=engine, faults=self.faults)

    def call(self, action: str, document: JsonObject) -> JsonObject:
        """Answer one request, at once; LATENCY faults are the server's to wait for.

        Raises:
            ApiError: the error to answer with.
        """
        self.requests[action] += 1
        handler = ACTIONS.get(action)
        if handler is None:
            known = ", ".join(sorted(ACTIONS))
            raise UnknownActionError(f"local_ecs does not play the action {action!r}. It plays: {known}.")
        if self.is_closing:
            raise ServerError("local_ecs is shutting down.")
        if self.throttle is not None:
            self.throttle.take(action, self.engine.clock.now())
        self.faults.refuse(action)
        self.engine.tick()
        answer = handler(self._context, Request(document))
        self.engine.tick()
        return answer
