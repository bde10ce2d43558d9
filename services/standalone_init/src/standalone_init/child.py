"""A child process and all that it starts: its output is passed on, and it ends as a whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from sidecar.clock import Clock

_LINES_KEPT = 20
# What the child wrote last is in the pipe already when it has ended.
_LAST_OUTPUT_SECONDS = 1.0


class Child:
    """A command in a process group of its own, so that Ctrl-C is for us and a signal reaches all of it.

    The command may be a shell wrapper without ``exec``: then the child is the shell and the real work its
    child, which a signal to the shell alone would leave running.

    Args:
        command: program and arguments.
        environ: all it is started with.
        tell: called with each line of output, on another thread.
    """

    def __init__(
        self, command: Sequence[str], *, environ: Mapping[str, str], tell: Callable[[str], None], clock: Clock
    ) -> None:
        self._clock = clock
        self._process = subprocess.Popen(  # noqa: S603 - the operator's own command
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._output = _Relay(self._process.stdout, tell)

    @property
    def is_running(self) -> bool:
        """Whether the command itself runs; what it left behind in the background does not count."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int:
        """Of the command; negative for the signal that ended it, as ``subprocess`` has it."""
        return self._process.wait()

    @property
    def last_lines(self) -> tuple[str, ...]:
        """What it said last."""
        return self._output.last_lines

    def end(self, patience_seconds: float) -> None:
        """Ask all of it to end, and kill what is left after ``patience_seconds``. Idempotent."""
        deadline = self._clock.monotonic() + patience_seconds
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_seconds)
            # A shell is gone at once, the work that it started needs longer.
            self._output.join(max(0.0, deadline - self._clock.monotonic()))
        self._kill()

    def close(self) -> None:
        """Take the last lines and leave nothing running. Idempotent."""
        if not self.is_running:
            self._output.join(_LAST_OUTPUT_SECONDS)
        self._kill()

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._output.join(_LAST_OUTPUT_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        # Once the command was waited for, the group's number is surely still its own only while somebody
        # of the group has the pipe open.
        if self.is_running or self._output.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class _Relay(threading.Thread):
    """Passes a child's output on line by line, so that its pipe never fills, and keeps the last lines.

    It owns the pipe: closing it from another thread would wait for as long as somebody holds its other end.
    """

    def __init__(self, pipe: IO[str] | None, tell: Callable[[str], None]) -> None:
        super().__init__(name="child-output", daemon=True)
        self._pipe = pipe
        self._tell = tell
        self._lines: list[str] = []
        self.start()

    @property
    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def run(self) -> None:
        if self._pipe is None:
            return
        with self._pipe as pipe:
            for line in pipe:
                text = line.rstrip()
                if text:
                    self._lines = [*self._lines[1 - _LINES_KEPT :], text]
                    self._tell(text)
