"""The one adapter to Airflow: found on the path, run as a subprocess, never imported, never believed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sidecar.errors import ConfigError
from sidecar.secrets import mask, remember
from standalone_init import image_probe, model_probe
from standalone_init.revisions import Chain
from standalone_init.state import Image, Manager

_SCRIPT_TIMEOUT_SECONDS = 120.0
_SQL_TIMEOUT_SECONDS = 120.0
_LINES_QUOTED = 3
_OWN_PREFIX = "STANDALONE_INIT_"
# pip and uv write this instead of a shebang when the path is too long for one.
_SHELL_TRAMPOLINE = re.compile(r"'''exec' \"?(?P<python>[^\" ]+)")


class AirflowCli:
    """Airflow of this image.

    Args:
        command: as a person would type it, e.g. ``airflow``.
        python: its interpreter when the command does not name it.
        environ: what it is started with; this product's own variables are taken out.
        shared: variables that this container lacks and a service would have.
    """

    def __init__(
        self,
        *,
        command: str,
        python: Path | None,
        environ: Mapping[str, str],
        shared: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._words = shlex.split(command)
        self._python = python
        self._environ = {name: value for name, value in environ.items() if not name.startswith(_OWN_PREFIX)}
        self._shared = shared

    @property
    def environ(self) -> dict[str, str]:
        """What Airflow's processes are started with."""
        return {**self._environ, **self._shared()}

    def command(self, *arguments: str) -> list[str]:
        """Return the words with which this Airflow is started.

        Raises:
            ConfigError: there is none.
        """
        return [self._found(), *self._words[1:], *arguments]

    def image(self, *, auth_manager: str, external_db_managers: Sequence[str] = ()) -> Image:
        """Return what this image's Airflow knows; a tenth of a second, imports nothing.

        Args:
            auth_manager: dotted name of the configured one; the managers of its package are required.
            external_db_managers: dotted names that the configuration requires.

        Raises:
            ConfigError: there is no Airflow, or its migrations are not where they belong.
        """
        found = json.loads(self.ask(image_probe.__file__, *external_db_managers))
        if not found["core"]:
            raise ConfigError(
                "This image has no Airflow 3",
                why="its Python has no apache-airflow-core with migrations",
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

    def model(self, managers: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """Return the columns of each table that this Airflow's models have; seconds, imports Airflow.

        Args:
            managers: dotted names of the database managers whose tables count.

        Raises:
            ConfigError: Airflow, a plugin or a manager cannot be imported.
        """
        tables = json.loads(self.ask(model_probe.__file__, *managers, mark=model_probe.MARK))
        return {table: frozenset(columns) for table, columns in tables.items()}

    def migration_sql(self, *, database_url: str, from_revision: str, manager: str = "") -> str:
        """Return the SQL of the revisions after ``from_revision``; seconds, changes nothing.

        Args:
            database_url: Airflow wants one; it is asked for nothing but its dialect.
            from_revision: where the database is.
            manager: ``fab`` for FAB's tables; "" for the core.

        Raises:
            ConfigError: this Airflow cannot say it.
        """
        remember(database_url)
        group = [f"{manager}-db"] if manager else ["db"]
        arguments = ["migrate", "--show-sql-only", "--from-revision", from_revision]
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command
                self.command(*group, *arguments),
                env={**self.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url},
                capture_output=True,
                text=True,
                timeout=_SQL_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as err:
            raise ConfigError(
                "Airflow does not say what its migration will do",
                why=mask(last_words(err)),
                remedy="Try 'airflow db migrate --show-sql-only --from-revision …' by hand",
            ) from None
        return done.stdout

    def ask(self, script: str, *arguments: str, mark: str = "", say: str = "", database_url: str = "") -> str:
        """Run one of our own scripts with Airflow's Python; return what it answered.

        Args:
            script: its path.
            arguments: not for secrets: every process can read them.
            mark: what the line with the answer begins with; "" takes the whole output.
            say: goes to its standard input.
            database_url: reaches it through its environment.

        Raises:
            ConfigError: it did not answer.
        """
        environ = dict(self._environ)
        if database_url:
            remember(database_url)
            environ = {**self.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url}
        python = self._python or self._interpreter()
        try:
            done = subprocess.run(  # noqa: S603 - the interpreter that the operator's own command names
                [str(python), script, *arguments],
                env=environ,
                input=say,
                capture_output=True,
                text=True,
                timeout=_SCRIPT_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as err:
            raise ConfigError(
                "Airflow's Python does not answer",
                why=f"{python}: {mask(last_words(err))}",
                remedy="If Airflow runs on another Python, set STANDALONE_INIT_AIRFLOW_PYTHON",
            ) from None
        return done.stdout.rpartition(mark)[2] if mark else done.stdout

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


def last_words(err: BaseException) -> str:
    """What a child that failed said last, or how it failed."""
    said = str(getattr(err, "stderr", "") or "").strip().splitlines()
    return " | ".join(said[-_LINES_QUOTED:]) or str(err)


def _package(dotted: str) -> str:
    """The distribution a class comes from, as far as names tell: ``airflow.providers.fab``."""
    return ".".join(dotted.split(".")[:3])
