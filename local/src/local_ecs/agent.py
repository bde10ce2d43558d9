"""The container agent's task protection endpoint, ``$ECS_AGENT_URI/task-protection/v1/state`` for a task.

Status codes and texts follow the real agent, which asks the ECS API and wraps its answer:
https://github.com/aws/amazon-ecs-agent/blob/master/ecs-agent/tmds/handlers/taskprotection/v1/handlers/handlers.go
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from local_ecs.api import Api
from local_ecs.errors import ApiError
from local_ecs.model import JsonObject, Task

Answer = tuple[int, JsonObject]
_MEMBERS = {"protectionenabled": "ProtectionEnabled", "expiresinminutes": "ExpiresInMinutes"}


def get_state(api: Api, task_id: str) -> Answer:
    """Answer a GET: whether the task is protected, and until when."""
    task = _task(api, task_id)
    if task is None:
        return _not_found()
    return _ask(api, task, "GetTaskProtection", {})


def put_state(api: Api, task_id: str, body: bytes) -> Answer:
    """Answer a PUT ``{"ProtectionEnabled": bool, "ExpiresInMinutes": int}``; other members are refused."""
    try:
        wanted = _decode(body)
    except ValueError:
        return _invalid("", "UpdateTaskProtection: failed to decode request")
    task = _task(api, task_id)
    if task is None:
        return _not_found()
    if wanted.get("ProtectionEnabled") is None:
        return _invalid(task.arn, "Invalid request: does not contain 'ProtectionEnabled' field")
    request = {
        "protectionEnabled": wanted["ProtectionEnabled"],
        "expiresInMinutes": wanted.get("ExpiresInMinutes"),
    }
    return _ask(api, task, "UpdateTaskProtection", request)


def _decode(body: bytes) -> dict[str, Any]:
    """Read the body as the agent's JSON decoder does: names in any case, types exact, nothing unknown."""
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the one error of this function
    wanted: dict[str, Any] = {}
    for name, value in document.items():
        member = _MEMBERS.get(name.lower())
        is_bool = isinstance(value, bool)
        fits = is_bool if member == "ProtectionEnabled" else isinstance(value, int) and not is_bool
        if member is None or not (fits or value is None):
            raise ValueError(f"unknown member or wrong type: {name}")
        wanted[member] = value
    return wanted


def _ask(api: Api, task: Task, action: str, request: JsonObject) -> Answer:
    try:
        answer = api.call(action, {**request, "cluster": task.cluster, "tasks": [task.arn]})
    except ApiError as err:
        return err.http_status, {"error": {"Arn": task.arn, "Code": err.code, "Message": err.message}}
    for failure in answer["failures"]:
        return HTTPStatus.OK, {"failure": {name.capitalize(): value for name, value in failure.items()}}
    protected = answer["protectedTasks"][0]
    protection = {"ProtectionEnabled": protected["protectionEnabled"], "TaskArn": protected["taskArn"]}
    if "expirationDate" in protected:
        expires = datetime.fromtimestamp(protected["expirationDate"], UTC)
        protection["ExpirationDate"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    return HTTPStatus.OK, {"protection": protection}


def _task(api: Api, task_id: str) -> Task | None:
    return api.engine.state.live.get(task_id)


def _not_found() -> Answer:
    error = {
        "Arn": "",
        "Code": "ResourceNotFoundException",
        "Message": "Failed to find a task for the request",
    }
    return HTTPStatus.NOT_FOUND, {"error": error}


def _invalid(arn: str, message: str) -> Answer:
    error = {"Arn": arn, "Code": "InvalidParameterException", "Message": message}
    return HTTPStatus.BAD_REQUEST, {"error": error}
