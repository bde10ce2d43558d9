"""Find a user that a server may run as, and a directory that this user can reach.

PostgreSQL refuses to run as root, and containers and CI often are root. Then the server runs as ``nobody``;
what lies where ``nobody`` cannot look (a clone under ``/root``, a private temporary directory) is placed
under one directory in the system's temporary directory that only root can write to.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROBE_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user a server runs as. ``uid`` and ``gid`` are None when that is simply who we are."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def for_servers(cls) -> Account:
        """Ourselves, or ``nobody`` when we are root.

        Raises:
            RuntimeError: we are root and the machine has no user ``nobody``.
        """
        if os.geteuid() != 0:
            return cls()
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError as err:
            raise RuntimeError(
                "PostgreSQL refuses to run as root and this machine has no user 'nobody' to run it as: "
                "run as an ordinary user, or add that user"
            ) from err
        return cls(uid=nobody.pw_uid, gid=nobody.pw_gid)

    @property
    def is_other(self) -> bool:
        """Whether this is another user than ourselves."""
        return self.uid is not None

    def owns(self, path: Path, *, mode: int) -> None:
        """Make ``path`` this account's own, with permission bits ``mode``."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)

    def can_enter(self, directory: Path) -> bool:
        """Whether this account can reach and enter an existing directory, all its parents included."""
        probe = ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)]
        return self.run(probe).returncode == 0

    def run(
        self, command: list[str], *, timeout_seconds: float = _PROBE_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a short command as this account and hand back its exit code and output.

        Raises:
            OSError: the account cannot execute it, or it is no program for this machine.
            subprocess.TimeoutExpired: it took too long.
        """
        identity: dict[str, Any] = {}
        if self.is_other:
            identity = {"user": self.uid, "group": self.gid, "extra_groups": []}
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd="/", timeout=timeout_seconds, **identity
        )


def reachable_home(account: Account) -> Path:
    """A directory that only we can write to and ``account`` can pass through. Made when missing.

    Its name is always the same, so that what is kept there is found again; a directory of that name that
    somebody else could have prepared is refused.

    Raises:
        RuntimeError: no temporary directory can be used, or the directory is not ours.
    """
    for temporary in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108  # ownership is checked
        if not Path(temporary).is_dir() or not account.can_enter(Path(temporary)):
            continue
        home = Path(temporary) / f"airflow-ecs-local-{os.geteuid()}"
        home.mkdir(mode=0o711, exist_ok=True)
        found = home.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise RuntimeError(
                f"{home} is not a directory that only we can write to: remove it and start again"
            )
        home.chmod(0o711)
        return home
    raise RuntimeError(
        f"user id {account.uid} can enter no temporary directory: set TMPDIR to one that it can"
    )
