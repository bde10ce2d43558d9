"""A thread that makes slow calls for the event loop, one after the other."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)


class Courier:
    """Makes calls in its own thread, and hands each answer to the event loop.

    Args:
        name: of the thread.
        call_soon: runs something in the event loop; may be called from any thread.
    """

    def __init__(self, name: str, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._errands: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]]] = (
            queue.SimpleQueue()
        )
        # A daemon: it may wait for a network when the worker is done, and every call of it has a deadline.
        self._thread = threading.Thread(target=self._work, name=f"airflow-ecs-{name}", daemon=True)
        self._thread.start()

    def send(self, call: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Make ``call``, which must not raise, and then ``then(answer)`` in the event loop."""
        self._errands.put((call, then))

    def finish(self, timeout_seconds: float) -> bool:
        """Wait until what was sent so far has been done; returns whether it was in time."""
        done = threading.Event()
        self.send(done.set, lambda _: None)
        return done.wait(timeout_seconds)

    def _work(self) -> None:
        while True:
            call, then = self._errands.get()
            try:
                answer = call()
            except Exception:  # noqa: BLE001  # one broken errand must not end the thread
                # It promised not to. Without an answer the agent goes on waiting, which is the safe side.
                _log.exception("An errand of the airflow_ecs worker agent failed: please report this.")
                continue
            self._call_soon(lambda then=then, answer=answer: then(answer))  # type: ignore[misc]  # bound at once, on purpose
