"""Start the local cloud's own programs, tied to this process, and wait until they listen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from local_cloud.parent import tied

_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05


class Program:
    """A ``python -m <module>`` that prints ``<module> listening on <url>`` when it is ready."""

    def __init__(self, module: str, *arguments: str, log: Path, environment: dict[str, str]) -> None:
        self.module = module
        self.log = log
        command = tied([sys.executable, "-m", module, "--host", "127.0.0.1", "--port", "0", *arguments])
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},  # noqa: TID251 - children inherit the shell's own variables
                start_new_session=True,  # Ctrl-C is for the demo alone: it ends its children in order
            )

    def url(self) -> str:
        """Wait for the ready line and return the address in it.

        Raises:
            RuntimeError: the program ended or stayed silent; the text holds its output.
        """
        never = threading.Event()
        end = time.monotonic() + _START_SECONDS
        mark = f"{self.module} listening on "
        while time.monotonic() < end and self._process.poll() is None:
            for line in self.log.read_text(errors="replace").splitlines():
                if mark in line:
                    return line.split(mark, 1)[1].strip()
            never.wait(_POLL_SECONDS)
        raise RuntimeError(f"{self.module} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL after a minute."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        """Nothing more to do: it runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()
