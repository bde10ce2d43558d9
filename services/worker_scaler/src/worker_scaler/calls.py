"""Blocking calls on threads, none of which is left behind unseen.

A tick that is cancelled cannot stop a call that waits for ECS or the database: it goes on in its thread, and
could land after a newer one. So no tick begins while a call of an earlier one is still under way.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sidecar.errors import Transient

P = ParamSpec("P")
T = TypeVar("T")


class Calls:
    """Runs blocking calls in threads and knows how many have not returned."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0

    def refuse_to_overlap(self) -> None:
        """Raise Transient while a call of an earlier tick is under way; a later try helps."""
        with self._lock:
            under_way = self._under_way
        if under_way:
            raise Transient(
                "The last tick's calls have not returned",
                why=f"{under_way} of them still wait for an answer",
                remedy="Nothing is done meanwhile; look at ECS and the database if it lasts",
            )

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in a thread. Cancelling leaves the thread alone; :meth:`refuse_to_overlap` sees it."""

        def counted() -> T:
            self._count(1)
            try:
                return call(*args, **kwargs)
            finally:
                self._count(-1)

        return await asyncio.to_thread(counted)

    def _count(self, change: int) -> None:
        with self._lock:
            self._under_way += change
