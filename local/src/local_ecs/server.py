"""Serve the ECS API, the agent and metadata endpoints and ``/_local`` over HTTP, and let time pass.

``POST /`` with ``X-Amz-Target: AmazonEC2ContainerServiceV20141113.<Action>`` is the protocol awsJson1.1 that
boto3 speaks: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable

from aiohttp import web

from local_ecs import agent, metadata
from local_ecs.api import Api
from local_ecs.clock import VirtualClock
from local_ecs.errors import ApiError, InvalidParameterError
from local_ecs.local_endpoints import LocalEndpoints
from local_ecs.model import JsonObject, Task
from local_ecs.shutdown import shut_down

TARGET_PREFIX = "AmazonEC2ContainerServiceV20141113."
CONTENT_TYPE = "application/x-amz-json-1.1"
TICK_SECONDS = 0.05  # how late a process's end or a due step is noticed
MAX_BODY_BYTES = 4 * 1024 * 1024


class Server:
    """One ECS behind one port.

    Args:
        api: what to serve; with a ``VirtualClock`` time passes by ``POST /_local/advance`` only.
        host: address to listen on.
        port: 0 is any free one.
        stop_grace_seconds: how long tasks may take to end when the server ends.
    """

    def __init__(
        self, api: Api, *, host: str = "127.0.0.1", port: int = 0, stop_grace_seconds: float = 10.0
    ) -> None:
        self._api = api
        self._host = host
        self._port = port
        self._stop_grace_seconds = stop_grace_seconds
        self._stopping = asyncio.Event()

    async def run(
        self, stop: asyncio.Event, ready: Callable[[str], None], *, force: asyncio.Event | None = None
    ) -> None:
        """Serve until ``stop`` is set, then end all tasks; ``ready`` is told the URL once it answers.

        Once ``force`` is set too, tasks are killed without waiting.

        Raises:
            OSError: the port is taken.
        """
        runner = web.AppRunner(self._application(), access_log=None, handle_signals=False)
        try:
            await runner.setup()
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            port = runner.addresses[0][1]
            self._api.engine.endpoint = f"http://{self._host}:{port}"
            ready(self._api.engine.endpoint)
            await self._let_time_pass(stop)
            self._stopping.set()
            await shut_down(
                self._api,
                grace_seconds=self._stop_grace_seconds,
                tick_seconds=TICK_SECONDS,
                force=force or asyncio.Event(),
            )
        finally:
            self._api.engine.runtime.close()
            await runner.cleanup()

    async def _let_time_pass(self, stop: asyncio.Event) -> None:
        is_virtual = isinstance(self._api.engine.clock, VirtualClock)
        while not stop.is_set():
            if not is_virtual:
                self._api.engine.tick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=None if is_virtual else TICK_SECONDS)

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_post("/", self._ecs)
        application.router.add_get("/agent/{task}/task-protection/v1/state", self._get_protection)
        application.router.add_put("/agent/{task}/task-protection/v1/state", self._put_protection)
        application.router.add_get("/metadata/{task}", self._container_metadata)
        application.router.add_get("/metadata/{task}/task", self._task_metadata)
        LocalEndpoints(self._api).add_to(application.router)
        return application

    async def _ecs(self, request: web.Request) -> web.Response:
        target = request.headers.get("X-Amz-Target", "")
        action = target.removeprefix(TARGET_PREFIX)
        body = await request.read()
        await self._wait_latency(action)
        try:
            answer = self._api.call(action, _decode(body))
        except ApiError as err:
            return _aws_json({"__type": err.code, "message": err.message}, status=err.http_status)
        return _aws_json(answer)

    async def _wait_latency(self, action: str) -> None:
        seconds = self._api.faults.latency_seconds(action)
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), timeout=seconds)

    async def _get_protection(self, request: web.Request) -> web.Response:
        await self._wait_latency("GetTaskProtection")
        status, answer = agent.get_state(self._api, request.match_info["task"])
        return web.json_response(answer, status=status)

    async def _put_protection(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self._wait_latency("UpdateTaskProtection")
        status, answer = agent.put_state(self._api, request.match_info["task"], body)
        return web.json_response(answer, status=status)

    async def _container_metadata(self, request: web.Request) -> web.Response:
        task = self._task(request)
        first = next((each for each in task.containers if each.essential), task.containers[0])
        return web.json_response(metadata.container_metadata(first, task))

    async def _task_metadata(self, request: web.Request) -> web.Response:
        return web.json_response(metadata.task_metadata(self._task(request), self._api.engine.state))

    def _task(self, request: web.Request) -> Task:
        task = self._api.engine.state.live.get(request.match_info["task"])
        if task is None:
            raise web.HTTPNotFound(text="V4 metadata: there is no such task, or it has ended")
        return task


def _decode(body: bytes) -> JsonObject:
    try:
        document = json.loads(body or b"{}")
    except ValueError as err:
        raise InvalidParameterError(f"The request is no JSON: {err}.") from err
    if not isinstance(document, dict):
        raise InvalidParameterError("The request is no JSON object.")
    return document


def _aws_json(document: JsonObject, *, status: int = 200) -> web.Response:
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    return web.Response(
        body=json.dumps(document).encode(), status=status, content_type=CONTENT_TYPE, headers=headers
    )
