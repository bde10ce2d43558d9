"""The one adapter to Airflow: found on the path, run as a subprocess, never imported, never believed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.clock import Clock, Stop
from sidecar.errors import ConfigError
from sidecar.secrets import remember
from standalone_init import image_probe
from standalone_init.child import Child
from standalone_init.errors import MigrationFailed, TryAgain
from standalone_init.revisions import Chain
from standalone_init.state import Image, Manager
from standalone_init.watch import MIGRATION_APPLICATION, Blocker, Watch

_PROBE_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.1
_OWN_PREFIX = "STANDALONE_INIT_"
# The chassis ends the process at stop_timeout_seconds; the child must be gone before.
_SHARE_OF_STOP_TIMEOUT = 0.8
# Of that; what is left is for the child's own end.
_SHARE_FOR_THE_REVISION = 0.75
# pip and uv write this instead of a shebang when the path is too long for one.
_SHELL_TRAMPOLINE = re.compile(r"'''exec' \"?(?P<python>[^\" ]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call of Airflow ended. Its exit code is a hint, never a proof."""

    exit_code: int
    last_lines: tuple[str, ...]


class AirflowCli:
    """Airflow of this image.

    Args:
        command: as a person would type it, e.g. ``airflow``.
        python: its interpreter when the command does not name it.
        environ: what it is started with; this product's own variables are taken out.
    """

    def __init__(
        self, *, command: str, python: Path | None, environ: Mapping[str, str], clock: Clock
    ) -> None:
        self._words = shlex.split(command)
        self._python = python
        self._environ = {name: value for name, value in environ.items() if not name.startswith(_OWN_PREFIX)}
        self._clock = clock

    def image(self, *, auth_manager: str, external_db_managers: Sequence[str] = ()) -> Image:
        """Return what this image's Airflow knows; a tenth of a second, imports nothing.

        Args:
            auth_manager: dotted name of the configured one; the managers of its package are required.
            external_db_managers: dotted names that the configuration requires.

        Raises:
            ConfigError: there is no Airflow, or its migrations are not where they belong.
        """
        python = self._python or self._interpreter()
        try:
            done = subprocess.run(  # noqa: S603 - the interpreter that the operator's own command names
                [str(python), image_probe.__file__, *external_db_managers],
                env=self._environ,
                capture_output=True,
                text=True,
                timeout=_PROBE_TIMEOUT_SECONDS,
                check=True,
            )
            found = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as err:
            raise ConfigError(
                "Cannot ask which Airflow this image has",
                why=f"{python} did not answer: {getattr(err, 'stderr', '') or err}".strip(),
                remedy="Set STANDALONE_INIT_AIRFLOW_PYTHON to the Python that Airflow runs on",
            ) from None
        if not found["core"]:
            raise ConfigError(
                "This image has no Airflow 3",
                why=f"{python} has no apache-airflow-core with migrations",
                remedy="Run in the Airflow image, or set STANDALONE_INIT_AIRFLOW_COMMAND to its 'airflow'",
            )
        return Image(
            airflow_version=found["version"],
            core=_chain(found["core"]),
            managers=tuple(
                Manager(
                    name=manager["name"],
                    version_table=manager["version_table"],
                    chain=_chain(manager["chain"]),
                    is_required=manager["name"] in external_db_managers
                    or _package(manager["name"]) == _package(auth_manager),
                )
                for manager in found["managers"]
                if manager["chain"]
            ),
            unreadable_managers=tuple(
                manager["name"] for manager in found["managers"] if not manager["chain"]
            ),
        )

    def migrate(
        self,
        *,
        database_url: str,
        tell: Callable[[str], None],
        timeout_seconds: float,
        ddl_lock_timeout_seconds: float,
        stop: Stop,
        stop_timeout_seconds: float,
        watch: Watch,
    ) -> Ended:
        """Run ``airflow db migrate`` to its end. Safe to repeat: Airflow commits each revision by itself.

        Its statements wait for a lock no longer than ``ddl_lock_timeout_seconds``: while an ALTER TABLE waits
        behind an old transaction, every new reader of that table waits behind the ALTER TABLE.

        Args:
            database_url: with the password; it reaches the child through its environment alone.
            tell: called with each line of output, on another thread.
            timeout_seconds: it and all it started is ended when it takes longer.
            ddl_lock_timeout_seconds: see above.
            stop: ends it and all it started, too.
            stop_timeout_seconds: from the order to stop to the end of this process.
            watch: looks at it while it runs.

        Raises:
            MigrationFailed: it took longer than ``timeout_seconds`` and was ended.
            TryAgain: the order to stop came; the revision under way was given the time to finish, then it was
                ended; the next run continues.
        """
        remember(database_url)
        remember(urlsplit(database_url).password or "")
        command = [self._found(), *self._words[1:], "db", "migrate"]
        options = f"-c lock_timeout={int(ddl_lock_timeout_seconds * 1000)}"
        environ = {
            **self._environ,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
            # https://www.postgresql.org/docs/current/libpq-envars.html
            "PGAPPNAME": MIGRATION_APPLICATION,
            "PGOPTIONS": f"{self._environ.get('PGOPTIONS', '')} {options}".strip(),
        }
        child = Child(command, environ=environ, tell=tell, clock=self._clock)
        try:
            self._wait(child, timeout_seconds, stop, stop_timeout_seconds, watch)
        finally:
            child.close()
        return Ended(exit_code=child.exit_code, last_lines=child.last_lines)

    def _wait(
        self, child: Child, timeout_seconds: float, stop: Stop, stop_timeout_seconds: float, watch: Watch
    ) -> None:
        deadline = self._clock.monotonic() + timeout_seconds
        while child.is_running:
            if stop.wait_in_thread(_POLL_SECONDS):
                self._finish_revision(child, watch, stop_timeout_seconds)
                raise TryAgain(
                    "Stopped during 'airflow db migrate'",
                    why=f"{stop.reason} was received; the database is at {watch.revision() or 'no revision'}",
                    remedy="Run again: it continues after the last revision that was committed",
                )
            watch.look()
            if self._clock.monotonic() > deadline:
                child.end(stop_timeout_seconds * _SHARE_OF_STOP_TIMEOUT)
                raise MigrationFailed(
                    f"'airflow db migrate' took longer than {timeout_seconds:g} s and was ended",
                    why=_in_the_way(watch.blockers) or "a table is large, or the server is slow",
                    remedy="Look at pg_stat_activity for old transactions, raise"
                    " STANDALONE_INIT_MIGRATE_TIMEOUT_SECONDS, run again: it continues where it stopped",
                )

    def _finish_revision(self, child: Child, watch: Watch, stop_timeout_seconds: float) -> None:
        """End it after the revision under way, or when the time is up: then that one is rolled back whole."""
        started = self._clock.monotonic()
        budget = stop_timeout_seconds * _SHARE_OF_STOP_TIMEOUT
        at = watch.revision()
        pause = threading.Event()
        while (
            child.is_running
            and self._clock.monotonic() - started < budget * _SHARE_FOR_THE_REVISION
            and watch.revision() == at
        ):
            pause.wait(_POLL_SECONDS)
        child.end(max(0.0, budget - (self._clock.monotonic() - started)))

    def _found(self) -> str:
        path = shutil.which(self._words[0], path=self._environ.get("PATH")) if self._words else None
        if path is None:
            raise ConfigError(
                "There is no Airflow here",
                why=f"{' '.join(self._words)!r} is not on PATH",
                remedy="Run in the Airflow image, or set STANDALONE_INIT_AIRFLOW_COMMAND",
            )
        return path

    def _interpreter(self) -> Path:
        """The Python named in the first lines of the ``airflow`` script."""
        path = Path(self._found())
        if path.name.startswith("python"):
            return path
        with path.open("rb") as file:
            first, second = (file.readline(4096).decode(errors="replace").strip() for _ in range(2))
        trampoline = _SHELL_TRAMPOLINE.match(second)
        if trampoline:
            return Path(trampoline["python"])
        words = first.removeprefix("#!").split()
        if not first.startswith("#!") or not words or not Path(words[-1]).name.startswith("python"):
            raise ConfigError(
                "Cannot tell which Python Airflow runs on",
                why=f"{path} does not name it in its first line",
                remedy="Set STANDALONE_INIT_AIRFLOW_PYTHON",
            )
        found = shutil.which(
            words[-1], path=self._environ.get("PATH")
        )  # '#!/usr/bin/env python3' names no path
        return Path(found or words[-1])


def _chain(parents: Mapping[str, list[str]]) -> Chain:
    return Chain(parents={revision: tuple(below) for revision, below in parents.items()})


def _package(dotted: str) -> str:
    """The distribution a class comes from, as far as names tell: ``airflow.providers.fab``."""
    return ".".join(dotted.split(".")[:3])


def _in_the_way(blockers: Sequence[Blocker]) -> str:
    return "; ".join(map(str, blockers))
