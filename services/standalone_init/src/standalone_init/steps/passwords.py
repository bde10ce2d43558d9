"""SimpleAuthManager's passwords file: those in it are kept, those missing are added, none is ever shown.

Airflow's API server would generate them itself, and print them into its log.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from sidecar.errors import ConfigError
from sidecar.files import write_atomic
from sidecar.secrets import Secret, remember
from standalone_init.errors import FilesUnusable
from standalone_init.plan import WritePasswords

_ENTROPY_BYTES = 24
_PRIVATE = 0o600


def users(path: Path) -> frozenset[str]:
    """Return who has a password; nobody when there is no file."""
    return frozenset(_read(path))


def write(step: WritePasswords, password: Secret | None) -> None:
    """Add the missing users. Idempotent: a user who has a password keeps it.

    Args:
        step: who is missing.
        password: of the admin; without it one is generated, which then stands in the file alone.

    Raises:
        FilesUnusable: the file cannot be written; the old one is whole.
    """
    path = Path(step.admin.passwords_file)
    passwords = _read(path)
    for user in step.users:
        if user not in passwords:
            given = password.value() if password is not None and user == step.admin.username else None
            passwords[user] = given or _generate()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(passwords) + "\n").encode(), mode=_PRIVATE)
    except OSError as err:
        raise FilesUnusable(
            "The passwords file cannot be written",
            why=f"{path}: {err.strerror}",
            remedy="Set AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE to a place this user may write",
        ) from err


def _read(path: Path) -> dict[str, str]:
    try:
        passwords = json.loads(path.read_bytes() or b"{}")
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise FilesUnusable("The passwords file cannot be read", why=f"{path}: {err.strerror}") from err
    except ValueError:
        passwords = None
    if not isinstance(passwords, dict):
        raise ConfigError(
            "The passwords file is not usable",
            why=f"{path} is not a JSON object of users and passwords",
            remedy="Correct it, or move it away: it is then made anew",
        )
    return passwords


def _generate() -> str:
    password = secrets.token_urlsafe(_ENTROPY_BYTES)
    remember(password)
    return password
