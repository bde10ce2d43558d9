"""Closing in threads of its own: the last close of a removed file frees its blocks, and waits for the disk.

On a busy disk that takes milliseconds each; thousands of short-lived files would hold up the reader.
"""

from __future__ import annotations

import queue
import threading

from log_forwarder.inputs.descriptors import close

_THREADS = 2
_JOIN_SECONDS = 5.0


class Closer:
    """Closes descriptors soon. Any thread; its own threads begin with the first descriptor."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def waiting(self) -> int:
        """How many descriptors are still open, about."""
        return self._queue.qsize()

    def close(self, descriptor: int) -> None:
        """Close a descriptor soon."""
        self._queue.put(descriptor)
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name=f"close-{number}", daemon=True)
                for number in range(_THREADS)
            ]
            for thread in self._threads:
                thread.start()

    def end(self) -> None:
        """Close what waits, and end. What takes too long the kernel closes with the process."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        while (descriptor := self._queue.get()) is not None:
            close(descriptor)
