"""Standard input into the spool, to its end."""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios
import threading
from collections.abc import Callable

from log_forwarder.spool.keys import StreamKey
from log_forwarder.spool.payloads import lines_payload
from log_forwarder.spool.spool import SpoolBroken
from log_forwarder.spool.writer import SpoolWriter

_READ_BYTES = 256 * 1024
_LONGEST_LINE_BYTES = 16 * 1024 * 1024  # a longer one goes on as another line
_LOOK_UP_SECONDS = 0.25
_KEY = StreamKey("stdin", "stdin", ())


class StdinFeeder:
    """Reads a descriptor until it ends (see :class:`~log_forwarder.inputs.pushed.Feeder`).

    Told to finish, it takes what is there and does not wait for more.

    Args:
        descriptor: what to read; a pipe, a terminal or a file.
        writer: makes what writes to the spool until the given function says that it is over.
        on_end: called when the input has ended by itself.
        may_leave: whether to leave, once told to finish, what is not there yet. If not, it reads to the end.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        writer: Callable[[Callable[[], bool]], SpoolWriter],
        on_end: Callable[[], None],
        may_leave: Callable[[], bool] = lambda: True,
    ) -> None:
        self._descriptor = descriptor
        self._on_end = on_end
        self._finishing = threading.Event()
        self._over = threading.Event()
        self._may_leave = may_leave
        self._writer = writer(self._over.is_set)
        self._thread = threading.Thread(target=self._run, name="stdin", daemon=True)
        self._thread.start()

    def begin_to_finish(self) -> None:
        """Take what is there and come to an end."""
        self._finishing.set()

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, or was told to and there is nothing more now."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop reading."""
        self._over.set()
        self._thread.join(_LOOK_UP_SECONDS * 4)

    def _run(self) -> None:
        try:
            has_ended = self._read_to_the_end()
        except (OSError, SpoolBroken):
            has_ended = True  # a terminal that went away; a broken spool is told by who reads it
        if has_ended:
            self._on_end()

    def _read_to_the_end(self) -> bool:
        """Read; return whether the input ended, and not we."""
        rest = b""
        left_bytes: int | None = None  # once told to finish: what is there then, not what is still to come
        while not self._over.is_set():
            may_leave = self._finishing.is_set() and self._may_leave()
            if may_leave and left_bytes is None:
                left_bytes = self._waiting_bytes()
            if may_leave and left_bytes is not None and left_bytes <= 0:
                break
            if not self._is_readable():
                if may_leave:
                    break
                continue
            data = os.read(self._descriptor, _READ_BYTES)
            left_bytes = None if left_bytes is None else left_bytes - len(data)
            if not data:
                self._write(rest)
                return True
            rest += data
            end = len(rest) if len(rest) > _LONGEST_LINE_BYTES else rest.rfind(b"\n") + 1
            if end:
                self._write(rest[:end])
                rest = rest[end:]
        self._write(rest)
        return False

    def _waiting_bytes(self) -> int | None:
        try:
            answer = fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4))
        except OSError:  # not a pipe, a socket, a terminal or a file
            return None
        return int.from_bytes(answer, sys.byteorder)

    def _is_readable(self) -> bool:
        try:
            return bool(select.select([self._descriptor], [], [], _LOOK_UP_SECONDS)[0])
        except ValueError:  # a descriptor that select cannot watch
            return True

    def _write(self, lines: bytes) -> None:
        if lines:
            self._writer.append(lines_payload(_KEY, lines))
