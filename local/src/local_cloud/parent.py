"""Tie a process to the one that started it, so that even ``kill -9`` of a test run leaves nothing behind.

Linux can send a process a signal when its parent ends (``PR_SET_PDEATHSIG``). Three traps decide the shape
of this module: the setting is forgotten when the user changes, so it must be made after that; the parent may
end before it is made, so the parent is looked at again afterwards; and "parent" means the *thread* that
started the process, so start processes from a thread that lives as long as they should.

Run as a file (``python -I -S parent.py …``) it is the launcher that :func:`tied` puts in front of a command:
it becomes another user when asked, asks for the signal and then *is* the command, with the same process id.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html


def die_with_parent(parent_pid: int, *, ending: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send this process ``ending`` as soon as its parent ends; does nothing but on Linux.

    Args:
        parent_pid: who the parent is believed to be. When that is no longer so, it has ended already
            and ``ending`` is sent at once.
        ending: the signal to send.

    Raises:
        OSError: the kernel refused; a retry does not help.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(ending), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), ending)


def tied(
    command: Sequence[str | Path],
    *,
    ending: signal.Signals = signal.SIGTERM,
    uid: int | None = None,
    gid: int | None = None,
) -> list[str]:
    """The command line that runs ``command`` tied to this process, as another user when both ids are set."""
    launcher = [
        sys.executable,
        "-I",
        "-S",
        __file__,
        "--parent",
        str(os.getpid()),
        "--ending",
        str(int(ending)),
    ]
    if uid is not None and gid is not None:
        launcher += ["--uid", str(uid), "--gid", str(gid)]
    return [*launcher, "--", *(str(part) for part in command)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the command given after ``--``; returns only by an exception."""
    parser = argparse.ArgumentParser(description="Run a command that ends when its parent ends.")
    parser.add_argument("--parent", type=int, required=True, help="process id of the parent")
    parser.add_argument("--ending", type=int, required=True, help="number of the signal to be sent")
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if options.uid is not None:
        os.setgroups([])
        os.setgid(options.gid)
        os.setuid(options.uid)
    die_with_parent(options.parent, ending=signal.Signals(options.ending))
    os.execvp(options.command[0], options.command)  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main()
