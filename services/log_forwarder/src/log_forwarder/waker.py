"""Lets the reading thread wait for the kernel's news, a call from another thread, and the time, at once."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Sequence


class Waker:
    """A pipe to oneself. :meth:`wait` is for one thread; :meth:`set` for any, signal handlers included."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def set(self) -> None:
        """End the wait that is on, or the next one."""
        with contextlib.suppress(BlockingIOError, OSError):  # full: it will be woken; closed: nobody waits
            os.write(self._writing, b"\0")

    def wait(self, seconds: float, descriptors: Sequence[int] = ()) -> None:
        """Wait until :meth:`set`, until a descriptor is readable, or so long."""
        poll = select.poll()
        for descriptor in (self._reading, *descriptors):
            poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)

    def close(self) -> None:
        """Close the pipe; :meth:`set` does nothing any more."""
        os.close(self._reading)
        os.close(self._writing)
        self._reading = self._writing = -1
