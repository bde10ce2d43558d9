"""Where things lie: the repository's two environments, and the demo's own folder."""

from __future__ import annotations

import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one demo.

    Attributes:
        repository: the checkout; it holds ``.venv`` and ``.airflow``.
        home: what the demo writes; emptied at each start, except PostgreSQL's cluster.
    """

    repository: Path
    home: Path

    @classmethod
    def here(cls, home: Path | None = None) -> Layout:
        """Return the layout of the checkout whose ``.venv`` runs this program."""
        repository = Path(sys.prefix).parent
        return cls(repository, (home or repository / ".demo").absolute())

    @property
    def airflow(self) -> Path:
        """The ``airflow`` command of the environment built from ``airflow_side``'s lock."""
        return self.repository / ".airflow" / "bin" / "airflow"

    def sidecar(self, script: str) -> Path:
        """Return a sidecar's console script."""
        return self.repository / ".venv" / "bin" / script

    @property
    def dags(self) -> Path:
        """The stand-in for EFS: what dags_agent writes and Airflow reads."""
        return self.home / "efs" / "dags"

    @property
    def container_logs(self) -> Path:
        """Stdout of every container, one folder per service."""
        return self.home / "logs" / "containers"

    @property
    def airflow_logs(self) -> Path:
        """Airflow's own log folder: tasks and dag-processor."""
        return self.home / "logs" / "airflow"

    @property
    def passwords(self) -> Path:
        """Where standalone_init puts the UI's users."""
        return self.home / "efs" / "simple_auth_manager_passwords.json"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the demo's folder for one demo at a time.

        Raises:
            RuntimeError: another demo holds it.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RuntimeError(f"another demo is running in {self.home}; end it first") from None
            yield

    def prepare(self) -> None:
        """Empty the demo's folder and make its sub-folders."""
        for name in ("efs", "logs", "state", "airflow-home"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        for path in (self.dags, self.container_logs, self.airflow_logs, self.home / "state"):
            path.mkdir(parents=True)
