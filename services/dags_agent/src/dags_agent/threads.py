"""Blocking file operations, run in threads: what a cancelled pass began has ended before the pass does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(threads: Executor, act: Callable[..., T], *arguments: object) -> T:
    """Return ``act(*arguments)``, called in one of ``threads``.

    Cancelling does not stop a thread. Going on beside one would be worse than waiting for it: what
    follows (removing a half-built release, the next pass, another agent once the lock is free) would
    race with its rename. So a call that has begun is waited for, however often this is cancelled; one
    that has not begun never begins. A call that never returns holds its pass, and ends with the process.

    Raises:
        CancelledError: after the call has ended, if this was cancelled meanwhile.
    """
    job = threads.submit(act, *arguments)
    call = asyncio.wrap_future(job)
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait((call,))
        except asyncio.CancelledError as err:
            cancelled = err
            job.cancel()
    if cancelled is not None:
        if not call.cancelled():
            call.exception()  # looked at, or asyncio complains that nobody did
        raise cancelled
    return call.result()
