"""The data path: one thread reads, one sends, a bounded outbox between them.

Threads and not coroutines because the work is bytes: signing, base64 and TLS release the interpreter
lock, and the synchronous boto3 client spent half the CPU of aiobotocore on the same load. Control,
health and shutdown stay on the event loop, which only looks at this object.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from log_forwarder.inputs.files import FileInput
from log_forwarder.outbox import Outbox
from log_forwarder.reader import Reader
from log_forwarder.sender import Sender

_LONGEST_PAUSE_SECONDS = 1.0


class Pump:
    """Runs the two threads; they are daemons, so a call that hangs cannot keep the process.

    Attributes:
        crash: the bug that ended a thread, if one did.
    """

    def __init__(
        self,
        *,
        files: FileInput,
        reader: Reader,
        outbox: Outbox,
        sender: Sender,
        wake: threading.Event,
        on_change: Callable[[], None],
    ) -> None:
        self.crash: Exception | None = None
        self._files = files
        self._reader = reader
        self._outbox = outbox
        self._sender = sender
        self._wake = wake
        self._on_change = on_change
        self._finish = threading.Event()
        self._abandon = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("read", self._read), ("send", sender.run))
        ]

    def start(self) -> None:
        """Begin to read and to send."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Look once more, hand on what is there, send it, and end."""
        self._finish.set()
        self._wake.set()
        self._sender.hurry()

    def abandon(self) -> None:
        """End as soon as possible; what was not accepted stays in the files."""
        self._abandon.set()
        self._finish.set()
        self._wake.set()
        self._sender.abandon()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for both threads; return whether they have ended."""
        share = timeout_seconds / len(self._threads)
        for thread in self._threads:
            thread.join(share)
        return not any(thread.is_alive() for thread in self._threads)

    def left_bytes(self) -> int:
        """Return how many bytes that the files held at the last look were not accepted."""
        return self._reader.left_bytes()

    def _read(self) -> None:
        while not self._finish.is_set():
            self._wake.clear()
            self._wake.wait(min(self._reader.turn(), _LONGEST_PAUSE_SECONDS))
        if not self._abandon.is_set():
            self._reader.begin_to_finish()
        self._wake.clear()
        while not self._abandon.is_set() and not self._reader.finish_step():
            if not self._outbox.has_room:
                self._wake.wait(_LONGEST_PAUSE_SECONDS)
            self._wake.clear()
        self._files.close()
        self._outbox.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as err:  # noqa: BLE001 - a thread's bug must end the process, not only the thread
            self.crash = err
            self._outbox.close()
            self._on_change()
