"""What no real ECS has: ``/_local`` shows what runs here and lets a test put faults in or move the time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from local_ecs import faults
from local_ecs.api import Api
from local_ecs.clock import VirtualClock
from local_ecs.errors import ApiError
from local_ecs.model import JsonObject, Task
from local_ecs.runtimes.virtual import SIGKILL_EXIT_CODE, VirtualRuntime
from local_ecs.virtual import advance
from local_ecs.wire import seconds

MAX_ADVANCE_SECONDS = 366 * 86_400.0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalEndpoints:
    """Handlers of ``/_local``; every error is ``{"error": text}`` with status 400 or 404."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register the handlers."""
        router.add_get("/_local/tasks", self._tasks)
        router.add_post("/_local/tasks/{task}/exit", self._exit)
        router.add_post("/_local/tasks/{task}/interrupt", self._interrupt)
        router.add_get("/_local/requests", self._requests)
        router.add_get("/_local/faults", self._faults)
        router.add_post("/_local/faults", self._add_faults)
        router.add_delete("/_local/faults", self._clear_faults)
        router.add_post("/_local/advance", self._advance)

    async def _tasks(self, _: web.Request) -> web.Response:
        self._api.engine.tick()
        return web.json_response([self._task_json(task) for task in self._api.engine.state.tasks()])

    def _task_json(self, task: Task) -> JsonObject:
        where = self._api.engine.runtime.whereabouts(task.id)
        now = self._api.engine.clock.now()
        return {
            "taskId": task.id,
            "taskArn": task.arn,
            "cluster": task.cluster,
            "service": task.service,
            "family": task.definition.family,
            "lastStatus": task.last_status.value,
            "desiredStatus": "RUNNING" if task.wanted else "STOPPED",
            "stopCode": task.stop_code,
            "address": task.address,
            "protectedUntil": seconds(task.protected_until) if task.is_protected(now) else None,
            "mainPid": where.main_pid if task.last_status != "STOPPED" else None,
            "logPath": where.log_path,
        }

    async def _exit(self, request: web.Request) -> web.Response:
        """Let a virtual task end by itself: ``{"exitCode": n}``."""
        runtime = self._api.engine.runtime
        if not isinstance(runtime, VirtualRuntime):
            return _wrong("only virtual tasks can be told to end here; kill the mainPid of a real one")
        document = await _document(request)
        runtime.exit(self._live(request).id, int(document.get("exitCode", SIGKILL_EXIT_CODE)))
        self._api.engine.tick()
        return web.json_response({})

    async def _interrupt(self, request: web.Request) -> web.Response:
        """End a task as a Spot interruption does."""
        self._api.engine.interrupt(self._live(request))
        self._api.engine.tick()
        return web.json_response({})

    async def _requests(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self._api.requests))

    async def _faults(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in self._api.faults.in_force])

    async def _add_faults(self, request: web.Request) -> web.Response:
        document = await _document(request)
        listed = document if isinstance(document, list) else [document]
        try:
            parsed = [faults.parse(each) for each in listed]
        except ApiError as err:
            return _wrong(err.message)
        self._api.faults.add(parsed)
        return await self._faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._api.faults.clear()
        return await self._faults(request)

    async def _advance(self, request: web.Request) -> web.Response:
        clock = self._api.engine.clock
        if not isinstance(clock, VirtualClock):
            return _wrong("time is the machine's own here; start local_ecs with --runtime virtual to move it")
        moved = (await _document(request)).get("seconds")
        if not isinstance(moved, int | float) or not 0 <= moved <= MAX_ADVANCE_SECONDS:
            return _wrong(f"seconds must be a number from 0 to {MAX_ADVANCE_SECONDS:g}, not {moved!r}")
        advance(self._api.engine, clock, moved)
        return web.json_response({"now": clock.now().isoformat()})

    def _live(self, request: web.Request) -> Task:
        task = self._api.engine.state.live.get(request.match_info["task"])
        if task is None:
            raise web.HTTPNotFound(text="there is no such task, or it has ended")
        return task


async def _document(request: web.Request) -> Any:
    try:
        return json.loads(await request.read() or b"{}")
    except ValueError as err:
        raise web.HTTPBadRequest(text=f"the request is no JSON: {err}") from err


def _wrong(text: str) -> web.Response:
    return web.json_response({"error": text}, status=400)
