"""A child process ends as a whole: the command, and what it started."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from sidecar.clock import SystemClock
from sidecar.testing.waiting import wait_until
from standalone_init.child import Child

# Says that it is there, then waits for a signal; argv[1] "deaf" makes it ignore the polite one.
WORK = """
import signal, sys
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def told(*_):
    print("ending in order", flush=True)
    sys.exit()
if sys.argv[1] == "polite":
    signal.signal(signal.SIGTERM, told)
import os
print(os.getpid(), flush=True)
signal.pause()
"""


@pytest.fixture
def work(tmp_path: Path) -> str:
    script = tmp_path / "work.py"
    script.write_text(WORK)
    return f"{sys.executable} {script}"


def start(script: str) -> Child:
    return Child(["/bin/sh", "-c", script], environ={}, tell=lambda _line: None, clock=SystemClock())


def pid_of(child: Child) -> int:
    wait_until(lambda: child.last_lines, "the work to begin")
    return int(child.last_lines[0])


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_a_shell_started_is_given_the_time_to_end_in_order(work: str) -> None:
    child = start(f"{work} polite; true")
    pid = pid_of(child)

    child.end(30)

    wait_until(lambda: is_gone(pid), "the end of the work")
    assert child.last_lines[-1] == "ending in order"


def test_what_does_not_end_when_asked_is_killed(work: str) -> None:
    child = start(f"{work} deaf; true")
    pid = pid_of(child)

    child.end(0.2)

    wait_until(lambda: is_gone(pid), "the end of the work")


def test_what_the_command_left_in_the_background_does_not_outlive_it(work: str) -> None:
    child = start(f"{work} deaf & exit 3")
    pid = pid_of(child)
    wait_until(lambda: not child.is_running, "the end of the shell")

    child.close()

    wait_until(lambda: is_gone(pid), "the end of the work")
    assert child.exit_code == 3


def test_ending_twice_or_what_has_ended_is_no_error() -> None:
    child = start("echo last words; exit 4")
    wait_until(lambda: not child.is_running, "the end")

    child.close()
    child.end(1)
    child.close()

    assert child.exit_code == 4
    assert child.last_lines == ("last words",)
