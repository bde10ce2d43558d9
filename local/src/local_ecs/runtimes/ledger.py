"""The list of running processes, on disk, so that whoever comes after ``kill -9`` can end what is left.

Only what can be proved to be ours is ended. Proof is the process id together with the time the process
began, the session that such a process leads, or the mark of this list in a process's environment.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from local_ecs.runtimes import sessions

MARK_VARIABLE = "LOCAL_ECS_INSTANCE"
_SAME_START_SECONDS = 1.0  # psutil derives the start from the boot time, which NTP may shift a little
_POLL_SECONDS = 0.05


class InUseError(Exception):
    """Another local_ecs works with this state directory; end it, or choose another directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One main process."""

    task_id: str
    container: str
    pid: int
    started: float


class Ledger:
    """The list of one local_ecs. Holds a lock on its directory until it is closed or its process ends."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "processes.json"
        self._lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(self._lock)
            raise InUseError(
                f"another local_ecs works with {directory}: end it, or give this one another --state-dir"
            ) from err
        self.ended_leftovers = end_recorded(self.path, is_fresh=False)
        self.instance = uuid.uuid4().hex
        self._entries: dict[int, Entry] = {}
        self._write()

    def add(self, task_id: str, container: str, pid: int) -> None:
        """Note a process that was just started."""
        try:
            started = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return
        self._entries[pid] = Entry(task_id=task_id, container=container, pid=pid, started=started)
        self._write()

    def remove(self, pid: int) -> None:
        """Note that a process and all it started is gone."""
        if self._entries.pop(pid, None) is not None:
            self._write()

    def close(self) -> None:
        """Give the directory free."""
        os.close(self._lock)

    def _write(self) -> None:
        document = {"instance": self.instance, "processes": [asdict(each) for each in self._entries.values()]}
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(document))
        beside.replace(self.path)


def end_recorded(path: Path, *, is_fresh: bool, deadline_seconds: float = 10.0) -> int:
    """End every process that the list at ``path`` proves to be its own; return how many there were.

    Args:
        path: the list; when there is none, nothing is done.
        is_fresh: the list was in use until this moment, so that a session is its own even when the process
            that led it is gone. Later, another program may have got the same number.
        deadline_seconds: when to give up on processes that do not end.
    """
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return 0
    mark = f"{MARK_VARIABLE}={document['instance']}"
    entries = [Entry(**each) for each in document["processes"]]
    proven = {entry.pid for entry in entries if is_fresh or _is_same(entry)}
    return _end(lambda: sessions.members(proven, [mark]), deadline_seconds)


def _is_same(entry: Entry) -> bool:
    try:
        return abs(psutil.Process(entry.pid).create_time() - entry.started) < _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False


def _end(find: Callable[[], list[int]], deadline_seconds: float) -> int:
    never = threading.Event()
    give_up = time.monotonic() + deadline_seconds
    seen: set[int] = set()
    while left := find():
        seen.update(left)
        sessions.kill(left)
        if time.monotonic() > give_up:
            break
        never.wait(_POLL_SECONDS)
    return len(seen)
