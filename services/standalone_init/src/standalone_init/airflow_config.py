"""The few options of Airflow that matter here, read as Airflow reads them: variable, file, default."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

from sidecar.errors import ConfigError

_DEFAULT_AUTH_MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
_DEFAULT_USERS = "admin:admin"
_DEFAULT_PASSWORDS_FILE = "simple_auth_manager_passwords.json.generated"


class AirflowConfig:
    """Airflow's configuration in this container.

    Args:
        environ: the variables that Airflow's components get, too.

    Raises:
        ConfigError: ``airflow.cfg`` is there and cannot be read.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._home = Path(environ.get("AIRFLOW_HOME") or Path(environ.get("HOME", "/")) / "airflow")
        path = Path(environ.get("AIRFLOW_CONFIG") or self._home / "airflow.cfg")
        self._file = configparser.RawConfigParser(strict=False)
        try:
            self._file.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, UnicodeError, configparser.Error) as err:
            raise ConfigError("Airflow's configuration cannot be read", why=f"{path}: {err}") from err

    @property
    def auth_manager(self) -> str:
        """The auth manager's dotted name."""
        return self.option("core", "auth_manager", _DEFAULT_AUTH_MANAGER)

    @property
    def uses_fab(self) -> bool:
        """Whether users live in FAB's tables."""
        return self.auth_manager.endswith("FabAuthManager")

    @property
    def external_db_managers(self) -> tuple[str, ...]:
        """Dotted names of ``[database] external_db_managers``."""
        names = self.option("database", "external_db_managers", "").split(",")
        return tuple(name.strip() for name in names if name.strip())

    @property
    def uses_simple_auth(self) -> bool:
        """Whether users live in the configuration and their passwords in a file."""
        return self.auth_manager.endswith("SimpleAuthManager")

    @property
    def simple_users(self) -> tuple[str, ...]:
        """The user names of ``[core] simple_auth_manager_users``."""
        entries = self.option("core", "simple_auth_manager_users", _DEFAULT_USERS).split(",")
        return tuple(entry.split(":")[0].strip() for entry in entries if entry.strip())

    @property
    def passwords_file(self) -> Path:
        """Where SimpleAuthManager keeps passwords."""
        given = self.option("core", "simple_auth_manager_passwords_file", "")
        return Path(given) if given else self._home / _DEFAULT_PASSWORDS_FILE

    def option(self, section: str, name: str, default: str = "") -> str:
        """Return an option's text; "" when it is not set and has no default here."""
        from_environ = self._environ.get(f"AIRFLOW__{section}__{name}".upper())
        return (from_environ or self._file.get(section, name, fallback="") or default).strip()
