"""A runtime whose containers are processes of this machine.

``command`` runs as it would in its image, with ``environment`` on top of local_ecs's own, as the leader of a
session. It ends as a container does: SIGTERM reaches the main process only, SIGKILL everything that is left
of the session after the stop timeout, and when the main process ends all it started ends with it. Nothing
survives local_ecs: see ``guardian`` and ``ledger``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from local_ecs.model import ContainerDefinition
from local_ecs.runtimes import sessions
from local_ecs.runtimes.base import Exited, Launch, NotStarted, Report, Started, Whereabouts
from local_ecs.runtimes.ledger import MARK_VARIABLE, Ledger

_KNOWN_TASKS = 1000  # whereabouts of so many tasks are remembered after their end
_CLOSE_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class _Main:
    """A container's main process."""

    task_id: str
    container: ContainerDefinition
    process: subprocess.Popen[bytes]
    kill_at: datetime | None = None


class ProcessRuntime:
    """Starts tasks as processes.

    Args:
        log_dir: output goes to ``<log_dir>/<service or family>/<task id>.log``.
        state_dir: where the list of processes is kept; one local_ecs at a time.
        environment: what the processes inherit.

    Raises:
        InUseError: another local_ecs works with ``state_dir``.
    """

    def __init__(self, *, log_dir: Path, state_dir: Path, environment: Mapping[str, str]) -> None:
        self._log_dir = log_dir.absolute()
        self._ledger = Ledger(state_dir.absolute())
        self.ended_leftovers = self._ledger.ended_leftovers
        self._environment = dict(environment)
        self._mains: list[_Main] = []
        self._reports: list[Report] = []
        self._known: dict[str, Whereabouts] = {}
        self._addresses = int(self._ledger.instance[:4], 16) << 8  # two local_ecs should not share addresses
        self._guardian = _start_guardian(self._ledger.path)

    def start(self, launch: Launch, now: datetime) -> None:  # noqa: ARG002 - the protocol's; nothing takes time here
        """Start the containers of a task, all or none."""
        log_path = self._log_dir / launch.log_group / f"{launch.task_id}.log"
        mains: list[_Main] = []
        try:
            log_path.parent.mkdir(parents=True, exist_ok=True)
            for container in launch.containers:
                mains.append(self._start_container(launch, container, log_path))
                self._ledger.add(launch.task_id, container.name, mains[-1].process.pid)
        except _CannotStartError as err:
            for main in mains:
                self._abandon(main)
            self._reports.append(NotStarted(task_id=launch.task_id, reason=str(err)))
            return
        self._mains.extend(mains)
        self._remember(launch.task_id, Whereabouts(main_pid=mains[0].process.pid, log_path=str(log_path)))
        ids = {main.container.name: f"{launch.task_id}-{main.process.pid:010d}" for main in mains}
        self._reports.append(Started(task_id=launch.task_id, address=self._next_address(), runtime_ids=ids))

    def stop(self, task_id: str, now: datetime, *, grace_seconds: float | None = None) -> None:
        """Send SIGTERM to the main processes; what is left at the stop timeout is killed by :meth:`poll`."""
        for main in self._mains:
            if main.task_id == task_id:
                timeout = main.container.stop_timeout_seconds
                timeout = timeout if grace_seconds is None else min(timeout, grace_seconds)
                kill_at = now + timedelta(seconds=timeout)
                if main.kill_at is None:
                    os.kill(
                        main.process.pid, signal.SIGTERM
                    )  # not yet reaped, so the number is still its own
                main.kill_at = kill_at if main.kill_at is None else min(main.kill_at, kill_at)

    def poll(self, now: datetime) -> Sequence[Report]:
        """Return what happened since the last call, and kill what has outstayed its stop timeout."""
        if self._guardian.poll() is not None:
            self._guardian = _replace_guardian(self._guardian, self._ledger.path)
        for main in list(self._mains):
            if _has_ended(main.process.pid):
                self._bury(main)
            elif main.kill_at is not None and now >= main.kill_at:
                sessions.kill(self._members(main))
        reports, self._reports = self._reports, []
        return reports

    def _bury(self, main: _Main) -> None:
        """Report an ended main process once nothing it started is left; reaped last, it keeps its number."""
        left = self._members(main)
        if left:
            sessions.kill(left)
            return
        code = main.process.wait()
        exit_code = code if code >= 0 else 128 - code
        self._mains.remove(main)
        self._ledger.remove(main.process.pid)
        self._reports.append(Exited(task_id=main.task_id, container=main.container.name, exit_code=exit_code))

    def next_due(self) -> datetime | None:
        """Return None: processes end when they like, and a killed one may take a while to be gone."""
        return None

    def whereabouts(self, task_id: str) -> Whereabouts:
        """Return the first container's process and the task's log."""
        return self._known.get(task_id, Whereabouts())

    def close(self) -> None:
        """Kill everything that runs, and let the guardian go."""
        if self._guardian.stdin is None or self._guardian.stdin.closed:
            return
        give_up = time.monotonic() + _CLOSE_SECONDS
        for main in list(self._mains):
            while main in self._mains and time.monotonic() < give_up:
                sessions.kill([main.process.pid] if not _has_ended(main.process.pid) else [])
                self._abandon(main)
        self._guardian.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guardian.wait(timeout=_CLOSE_SECONDS)
        if self._guardian.stdout is not None:
            self._guardian.stdout.close()
        self._ledger.close()

    def _abandon(self, main: _Main) -> None:
        """Kill a main process with all it started, without a report."""
        sessions.kill(self._members(main))
        with contextlib.suppress(subprocess.TimeoutExpired):
            main.process.wait(timeout=_CLOSE_SECONDS)
            self._ledger.remove(main.process.pid)
            if main in self._mains:
                self._mains.remove(main)

    def _start_container(self, launch: Launch, container: ContainerDefinition, log_path: Path) -> _Main:
        command = [*container.entry_point, *container.command]
        if not command:
            raise _CannotStartError(
                f"CannotStartContainerError: container {container.name!r} has neither entryPoint nor command,"
                " and the process runtime has no image to take them from"
            )
        if container.secrets:
            raise _CannotStartError(
                f"ResourceInitializationError: unable to pull secrets {', '.join(container.secrets)}:"
                " the process runtime reads no secret store, give the variables in environment"
            )
        environment = {
            **self._environment,
            **container.environment,
            **launch.environment,
            MARK_VARIABLE: self._ledger.instance,
            "LOCAL_ECS_TASK": launch.task_id,
        }
        try:
            with log_path.open("ab") as log:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=container.working_directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=sessions.die_with_parent,  # noqa: PLW1509 - one system call; takes no lock
                )
        except OSError as err:
            raise _CannotStartError(
                f"CannotStartContainerError: container {container.name!r}: {err}"
            ) from err
        return _Main(task_id=launch.task_id, container=container, process=process)

    def _members(self, main: _Main) -> list[int]:
        mark = f"LOCAL_ECS_TASK={main.task_id}"
        siblings = {m.process.pid for m in self._mains if m.task_id == main.task_id and m is not main}
        marked = [] if siblings else [mark]  # a mark is the whole task's: another container may still live
        return sessions.members({main.process.pid}, marked)

    def _next_address(self) -> str:
        """Return the next address of 127.64.0.0/10 that ends in 1 to 254."""
        self._addresses += 1
        if self._addresses % 256 in {0, 255}:
            self._addresses += 1 if self._addresses % 256 == 0 else 2
        number = self._addresses & 0x3FFFFF
        return f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    def _remember(self, task_id: str, whereabouts: Whereabouts) -> None:
        self._known[task_id] = whereabouts
        if len(self._known) > _KNOWN_TASKS:
            running = {main.task_id for main in self._mains}
            oldest = next((known for known in self._known if known not in running), None)
            if oldest is not None:
                del self._known[oldest]


class _CannotStartError(Exception):
    """A container could not be started; the text is the task's ``stoppedReason``."""


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, without reaping it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _replace_guardian(ended: subprocess.Popen[bytes], ledger_path: Path) -> subprocess.Popen[bytes]:
    for pipe in (ended.stdin, ended.stdout):
        if pipe is not None:
            pipe.close()
    return _start_guardian(ledger_path)


def _start_guardian(ledger_path: Path) -> subprocess.Popen[bytes]:
    guardian = subprocess.Popen(
        [sys.executable, "-m", "local_ecs.runtimes.guardian", str(ledger_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if guardian.stdout is None or guardian.stdout.readline() != b"ready\n":
        raise RuntimeError("the guardian process did not start: is local_ecs importable by this interpreter?")
    return guardian
