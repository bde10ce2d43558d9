"""The goal: what settings, the files file and Airflow's configuration together ask for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigError
from standalone_init.airflow_config import AirflowConfig
from standalone_init.plan import Admin, Directory, Wanted
from standalone_init.settings import StandaloneInitSettings
from standalone_init.snapshots.model import Source
from standalone_init.writers.model import Service

_MODE = re.compile(r"0?[0-7]{3,4}")


def wanted(settings: StandaloneInitSettings, config: AirflowConfig) -> Wanted:
    """Return the goal.

    Raises:
        ConfigError: the files file is wrong, or an admin is wanted that cannot be had.
    """
    directories = read_directories(settings.files_file) if settings.files_file else ()
    admin = _admin(settings.admin_username, config) if settings.admin_username else None
    return Wanted(
        directories=directories,
        admin=admin,
        has_objects=settings.objects_file is not None,
        writers=tuple(Service(cluster=one.cluster, service=one.service) for one in settings.stop_services),
        snapshot=Source.of(settings.snapshot) if settings.snapshot else None,
    )


def read_directories(path: Path) -> tuple[Directory, ...]:
    """Read the files file; all its problems are named in one go."""
    if path.suffix != ".toml":
        raise ConfigError(
            "STANDALONE_INIT_FILES_FILE is not usable", why=f"{path} is not TOML", remedy="Name it *.toml"
        )
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError("STANDALONE_INIT_FILES_FILE is not usable", why=f"{path}: {err}") from err
    entries = document.pop("directories", [])
    problems = [f"{path}: no such table {name!r}, only [[directories]]" for name in document]
    directories = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        trouble = _trouble(entry)
        if trouble:
            problems.append(f"{path}: directory {number}: {trouble}")
        else:
            mode = entry.get("mode")
            directories.append(Directory(path=entry["path"], mode=int(mode, 8) if mode else None))
    if problems:
        raise ConfigError("STANDALONE_INIT_FILES_FILE is not usable", problems=problems)
    return tuple(directories)


def _trouble(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "is not a table with 'path' and 'mode'"
    unknown = sorted(set(entry) - {"path", "mode"})
    if unknown:
        return f"no such key {unknown[0]!r}, only 'path' and 'mode'"
    path, mode = entry.get("path"), entry.get("mode")
    if not isinstance(path, str) or not path.startswith("/") or ".." in Path(path).parts:
        return f"'path' must be an absolute path without '..' (got {path!r})"
    if mode is not None and not (isinstance(mode, str) and _MODE.fullmatch(mode)):
        return f"'mode' must be octal digits in quotes, like \"0775\" (got {mode!r})"
    return ""


def _admin(username: str, config: AirflowConfig) -> Admin:
    if not config.uses_simple_auth:
        raise ConfigError(
            "STANDALONE_INIT_ADMIN_USERNAME is not available for this auth manager",
            why=f"{config.auth_manager} keeps its users elsewhere, and 'airflow users create' wants the"
            " password on its command line, where every process can read it",
            remedy="Remove it and make the user in the auth manager itself",
        )
    if username not in config.simple_users:
        raise ConfigError(
            f"The admin {username!r} is not a user of Airflow",
            why=f"[core] simple_auth_manager_users names {', '.join(config.simple_users)}",
            remedy=f"Add '{username}:admin' to AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",
        )
    return Admin(
        username=username, users=config.simple_users, passwords_file=str(config.passwords_file.absolute())
    )
