"""Find and end all processes of a task, as the end of a container does: what it started goes with it.

A task's main process leads a session of its own, and a variable in its environment marks it and its
descendants. A descendant leaves the session when it calls setsid, and loses the mark when it rewrites its
own environment (as programs that set their title do), but hardly both.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. Runs before exec."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def members(session_ids: Collection[int], marks: Collection[str]) -> list[int]:
    """Return the processes that run in one of the sessions, or whose environment holds one of the marks.

    Args:
        session_ids: process ids of session leaders.
        marks: texts ``NAME=value``.
    """
    wanted = {mark.encode() for mark in marks}
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if (
                pid != os.getpid()
                and (os.getsid(pid) in session_ids or wanted & _environment(pid))
                and alive(pid)
            ):
                found.append(pid)
    return found


def _environment(pid: int) -> set[bytes]:
    """Return a process's environment as it was given at its start; empty where it may not be read."""
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def kill(pids: Collection[int]) -> None:
    """Send SIGKILL; a process that is gone already is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
