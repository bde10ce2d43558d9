"""For tests of others: an ECS on virtual time behind a real port, for unmodified boto3."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from local_ecs.api import Api
from local_ecs.server import Server

_START_SECONDS = 10.0


@contextmanager
def served(api: Api) -> Iterator[str]:
    """Serve ``api`` from a thread of its own; gives the base URL. Touch the engine over HTTP only."""
    is_ready = threading.Event()
    found: list[str] = []
    held: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    errors: list[BaseException] = []

    async def serve() -> None:
        stop = asyncio.Event()
        held.append((asyncio.get_running_loop(), stop))

        def ready(url: str) -> None:
            found.append(url)
            is_ready.set()

        await Server(api).run(stop, ready)

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as err:  # noqa: BLE001 - handed to the thread that waits
            errors.append(err)
            is_ready.set()

    thread = threading.Thread(target=work, name="local_ecs", daemon=True)
    thread.start()
    if not is_ready.wait(_START_SECONDS) or not found:
        raise RuntimeError(f"local_ecs did not start within {_START_SECONDS:g} s") from next(
            iter(errors), None
        )
    try:
        yield found[0]
    finally:
        loop, stop = held[0]
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join(_START_SECONDS)
    if errors:
        raise errors[0]
