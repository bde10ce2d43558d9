"""Ask the ECS agent for this task's protection, and the metadata endpoint who this task is.

Both are link-local and speak for the task by its address, so no credentials are needed; the task role needs
``ecs:GetTaskProtection`` and ``ecs:UpdateTaskProtection``.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from airflow_ecs.worker_agent.clock import from_iso
from airflow_ecs.worker_agent.protection import (
    SAFETY_SECONDS,
    Answer,
    Confirmed,
    Denied,
    NotApplicable,
    Removed,
    Unreachable,
)

TIMEOUT_SECONDS = 2.0  # the agent asks the ECS API for us: tens of milliseconds, more when throttled
_MAX_ANSWER_BYTES = 1_048_576
_NO_SERVICE = "TASK_NOT_VALID"


class EcsAgent:
    """The task protection endpoint. Each call ends within a few seconds, and never raises.

    Args:
        uri: ``$ECS_AGENT_URI``.
        metadata_uri: ``$ECS_CONTAINER_METADATA_URI_V4``, to know a task that belongs to no service.
        minutes: how long to ask for.
    """

    def __init__(self, uri: str, *, metadata_uri: str, minutes: int) -> None:
        self._metadata_uri = metadata_uri
        self._url = f"{uri}/task-protection/v1/state"
        self._minutes = minutes

    def add(self, wall: float) -> Answer:
        """Protect the task from now on; idempotent, each call starts the time anew.

        A protection that somebody else asked for counts as well.
        """
        answer = self._put({"ProtectionEnabled": True, "ExpiresInMinutes": self._minutes})
        if isinstance(answer, Removed):
            return Denied("ECS took the request, and says that the task is not protected")
        if isinstance(answer, Denied):
            if answer.why.startswith(_NO_SERVICE) and self._is_standalone():
                return NotApplicable(answer.why)
            present = self._ask(urllib.request.Request(self._url))  # noqa: S310  # what ECS told: http, link-local
            if isinstance(present, Confirmed) and present.until - wall > SAFETY_SECONDS:
                return present
        return answer

    def remove(self) -> Answer:
        """Take the protection off; idempotent."""
        return self._put({"ProtectionEnabled": False})

    def _is_standalone(self) -> bool:
        # ECS says the same of a task that is stopping, and that one must take no more work.
        task = look_up_task(self._metadata_uri)
        return task is not None and not task.service and not task.is_stopping

    def _put(self, document: dict[str, object]) -> Answer:
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self._url, data=body, method="PUT", headers=headers))  # noqa: S310  # the same

    @staticmethod
    def _ask(request: urllib.request.Request) -> Answer:
        try:
            return _understand(_read(request))
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as err:
            return Unreachable(f"{request.full_url}: {type(err).__name__}: {err}")


def _understand(document: Any) -> Answer:
    """Tell the four kinds of answers apart.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(document, dict) and "protection" in document:
        protection = document["protection"]
        if not protection.get("ProtectionEnabled"):
            return Removed()
        return Confirmed(from_iso(protection["ExpirationDate"]))
    if isinstance(document, dict) and "failure" in document:
        failure = document["failure"]
        return Denied(f"{failure.get('Reason')}: {failure.get('Detail')}")
    if isinstance(document, dict) and "error" in document:
        error = document["error"]
        return Denied(f"{error.get('Code')}: {error.get('Message')}")
    raise ValueError(f"no answer of a task protection endpoint: {str(document)[:200]}")


@dataclass(frozen=True, slots=True)
class Task:
    """What the metadata endpoint says about this task."""

    arn: str
    service: str
    is_stopping: bool


def look_up_task(metadata_uri: str) -> Task | None:
    """Return this task; None when the endpoint does not tell (a retry may help)."""
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        found = _read(urllib.request.Request(f"{metadata_uri}/task"))  # noqa: S310  # what ECS told: http, link-local
        return Task(
            arn=str(found["TaskARN"]),
            service=str(found.get("ServiceName") or ""),
            is_stopping=found.get("DesiredStatus") == "STOPPED",
        )
    return None


def _read(request: urllib.request.Request) -> Any:
    # Without proxies: HTTP_PROXY is for the outside.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read(_MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as err:
        with err:
            return json.loads(err.read(_MAX_ANSWER_BYTES))  # the agent explains itself in the body
