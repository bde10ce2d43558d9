"""The data path: one thread reads, some send, a bounded outbox between them.

Threads and not coroutines because the work is bytes: signing, base64 and TLS release the interpreter
lock, and the synchronous boto3 client spent half the CPU of aiobotocore on the same load. Control,
health and shutdown stay on the event loop, which only looks at this object.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from log_forwarder.inputs.base import Input
from log_forwarder.outbox import Outbox
from log_forwarder.reader import Reader
from log_forwarder.sender import Sender
from log_forwarder.waker import Waker

_LONGEST_PAUSE_SECONDS = 1.0
_DRAIN_PAUSE_SECONDS = 0.05  # a client that is about to hang up tells nobody


class Pump:
    """Runs the threads; they are daemons, so a call that hangs cannot keep the process.

    Attributes:
        crash: the bug that ended a thread, if one did.
    """

    def __init__(
        self,
        *,
        inputs: Sequence[Input],
        reader: Reader,
        outbox: Outbox,
        sender: Sender,
        senders: int,
        waker: Waker,
        on_change: Callable[[], None],
    ) -> None:
        self.crash: Exception | None = None
        self._inputs = inputs
        self._reader = reader
        self._outbox = outbox
        self._sender = sender
        self._waker = waker
        self._on_change = on_change
        self._finish = threading.Event()
        self._abandon = threading.Event()
        work: list[tuple[str, Callable[[], None]]] = [("read", self._read)]
        work += [(f"send-{number}", sender.run) for number in range(senders)]
        self._threads = [
            threading.Thread(target=self._guarded, args=(act,), name=name, daemon=True) for name, act in work
        ]

    def start(self) -> None:
        """Begin to read and to send."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Look once more, hand on what is there, send it, and end."""
        self._finish.set()
        self._waker.set()
        self._outbox.hurry()

    def abandon(self) -> None:
        """End as soon as possible; what was not accepted stays where it is."""
        self._abandon.set()
        self._finish.set()
        self._waker.set()
        self._sender.abandon()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the threads; return whether they have ended."""
        share = timeout_seconds / len(self._threads)
        for thread in self._threads:
            thread.join(share)
        return not any(thread.is_alive() for thread in self._threads)

    def left_bytes(self) -> int:
        """Return how many bytes that were there at the last look were not accepted."""
        return self._reader.left_bytes()

    def _read(self) -> None:
        self._reader.resume()
        while not self._finish.is_set():
            self._waker.wait(self._reader.turn(), self._reader.descriptors)
        if not self._abandon.is_set():
            self._reader.begin_to_finish()
        while not self._abandon.is_set() and not self._reader.finish_step():
            self._waker.wait(_DRAIN_PAUSE_SECONDS if self._outbox.has_room else _LONGEST_PAUSE_SECONDS)
        for source in self._inputs:
            source.close()
        self._outbox.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as err:  # noqa: BLE001 - a thread's bug must end the process, not only the thread
            self.crash = err
            self._outbox.abandon()
            self._on_change()
