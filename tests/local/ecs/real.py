"""A local_ecs process with the process runtime, and looks at the processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import psutil

from local_ecs.runtimes.ledger import end_recorded
from sidecar.testing.waiting import wait_until

from .http import get


class RealEcs:
    """``python -m local_ecs`` in a directory. Use as a context manager; nothing is left behind."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local_ecs", "--state-dir", str(directory), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.url = self.first_line.rpartition(" ")[2].strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.wait()
        if error is not None:  # what local_ecs failed to end must not outlive the test that says so
            end_recorded(self.directory / "processes.json", is_fresh=True)

    def wait(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and what it said on stderr."""
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said

    def guardian_pids(self) -> list[int]:
        """The process that watches over it; none while it is being replaced."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if "local_ecs.runtimes.guardian" in child.cmdline():
                    found.append(child.pid)
        return found

    def guardian_pid(self) -> int:
        """The process that watches over it."""
        (guardian,) = self.guardian_pids()
        return guardian

    def tasks(self, **wanted: str | None) -> list[dict[str, Any]]:
        """``/_local/tasks``, those whose members are as wanted."""
        listed: list[dict[str, Any]] = get(f"{self.url}/_local/tasks")
        return [task for task in listed if all(task[name] == value for name, value in wanted.items())]

    def running(self, family: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many tasks of a family run."""

        def seen() -> list[dict[str, Any]]:
            found = self.tasks(family=family, lastStatus="RUNNING")
            return found if len(found) == count else []

        return wait_until(seen, f"{count} running tasks of {family}")

    def stopped(self, family: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many tasks of a family have ended."""

        def seen() -> list[dict[str, Any]]:
            found = self.tasks(family=family, lastStatus="STOPPED")
            return found if len(found) == count else []

        return wait_until(seen, f"{count} stopped tasks of {family}")


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def sleepers(seconds: str) -> list[int]:
    """Process ids of all ``sleep <seconds>``; tests sleep for numbers of their own."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline() == ["sleep", seconds] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def kill(*pids: int) -> None:
    """``kill -9``."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def log_of(task: dict[str, Any]) -> str:
    """What a task has written."""
    return Path(task["logPath"]).read_text()
