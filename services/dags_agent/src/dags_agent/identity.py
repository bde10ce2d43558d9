"""Who holds the writer's lease, and whether that process can be known to be gone."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
_STARTED_FIELD = 19  # of /proc/<pid>/stat, counted after the command's name (man 5 proc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A process, so that one on the same host and in the same PID namespace can look whether it lives.

    Attributes:
        host: for people.
        boot: of the kernel; empty when it is not known.
        namespace: of its process ids.
        pid, started: which process; a pid alone is used again.
    """

    host: str = ""
    boot: str = ""
    namespace: str = ""
    pid: int = 0
    started: str = ""

    @classmethod
    @lru_cache(maxsize=1)
    def _of_pid(cls, pid: int) -> Identity:
        return cls(
            host=socket.gethostname()[:64],
            boot=_text(_PROC / "sys/kernel/random/boot_id"),
            namespace=_namespace(),
            pid=pid,
            started=_started(pid),
        )

    @classmethod
    def mine(cls) -> Identity:
        """Return this process."""
        return cls._of_pid(os.getpid())

    @classmethod
    def from_json(cls, document: object) -> Identity:
        """Read what :meth:`to_json` gave; an identity that says nothing where it cannot be understood."""
        if not isinstance(document, dict):
            return cls()
        try:
            return cls(**document)
        except TypeError:
            return cls()

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return asdict(self)

    def is_gone(self) -> bool:
        """Return whether this process is known to have ended; False when that cannot be known from here."""
        me = Identity.mine()
        is_near = bool(me.boot and me.namespace and me.started) and (self.boot, self.namespace) == (
            me.boot,
            me.namespace,
        )
        return is_near and _started(self.pid) != self.started


def _started(pid: int) -> str:
    """Return when a process began, in ticks since the boot; empty when it is not there, or a zombie."""
    stat = _text(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    return stat[_STARTED_FIELD] if len(stat) > _STARTED_FIELD and stat[0] not in "ZX" else ""


def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
