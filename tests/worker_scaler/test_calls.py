from __future__ import annotations

import asyncio
import threading

import pytest

from sidecar.errors import Transient
from sidecar.testing.waiting import wait_until
from worker_scaler.calls import Calls


async def test_a_call_that_outlives_its_tick_keeps_the_next_one_from_beginning() -> None:
    calls, answered, asked = Calls(), threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        answered.wait(30)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await calls.run(slow)
    assert asked.is_set()

    with pytest.raises(Transient, match="1 of them still wait"):
        calls.refuse_to_overlap()

    answered.set()
    await asyncio.to_thread(wait_until, lambda: not under_way(calls), "the call has returned")
    calls.refuse_to_overlap()


async def test_a_call_that_fails_is_no_longer_under_way() -> None:
    calls = Calls()

    with pytest.raises(ZeroDivisionError):
        await calls.run(lambda: 1 // 0)

    calls.refuse_to_overlap()


def under_way(calls: Calls) -> int:
    return calls._under_way
