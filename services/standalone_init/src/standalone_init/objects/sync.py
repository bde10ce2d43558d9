"""Brings Airflow's objects to what the objects file declares: judge all, look, change at once, look again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from sidecar.errors import ConfigError
from standalone_init.airflow_cli import AirflowCli
from standalone_init.errors import FernetMismatch, NotVerified
from standalone_init.objects import airflow_objects, document, ownership
from standalone_init.objects.difference import Change, Found, difference
from standalone_init.objects.model import Wanted
from standalone_init.objects.references import References
from standalone_init.objects.wanted import references, wanted

_DIGEST_KEY_BYTES = 32


class Declared:
    """What an objects file declares, with every reference fetched.

    Raises:
        ConfigError: the file is wrong, a reference cannot be had, or it declares what this Airflow lacks.
    """

    def __init__(self, path: Path, resolver: References, *, uses_fab: bool) -> None:
        self._document = document.read(path)
        if (self._document.users or self._document.roles) and not uses_fab:
            raise ConfigError(
                "The objects file declares users or roles, and FAB is not the auth manager",
                why="other auth managers keep their users elsewhere",
                remedy="Remove 'users' and 'roles', or set AIRFLOW__CORE__AUTH_MANAGER to FAB's",
            )
        resolver.fetch(references(self._document))
        self.objects: Sequence[Wanted] = wanted(self._document, resolver.resolve)

    @property
    def keys(self) -> Sequence[tuple[str, str]]:
        """Kind and key of each object."""
        return [(one.kind, one.key) for one in self.objects]

    @property
    def needed_roles(self) -> Sequence[str]:
        """Roles that users need and that the file does not make itself."""
        needed = {role for user in self._document.users for role in user.roles}
        return sorted(needed - {role.name for role in self._document.roles})

    @property
    def set_passwords(self) -> Mapping[str, str]:
        """Passwords that existing users shall have, by user name."""
        return {
            one.key: one.first_password
            for one in self.objects
            if one.sets_password and one.first_password is not None
        }


class Sync:
    """Compares and changes, through Airflow's own models.

    Args:
        airflow: whose Python does it.
        database_url: with the password; it reaches the child through its environment alone.
        prune: whether objects that an earlier file declared and this one does not are removed.
    """

    def __init__(self, airflow: AirflowCli, declared: Declared, *, database_url: str, prune: bool) -> None:
        self._airflow = airflow
        self._declared = declared
        self._database_url = database_url
        self._prune = prune
        self._digest_key = secrets.token_bytes(_DIGEST_KEY_BYTES)

    def plan(self, connection: psycopg.Connection[Any]) -> Sequence[Change]:
        """Return what is to be done; changes nothing but FAB's own built-in roles, when users need them.

        Raises:
            ConfigError: a user's role exists nowhere.
            FernetMismatch: what is there cannot be decrypted with this environment's key.
        """
        owned = ownership.owned(connection) if self._prune else frozenset()
        return self._difference(self._ask((), owned), owned)

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change]) -> None:
        """Make the changes in one transaction and believe what is read afterwards. Idempotent.

        Raises:
            NotVerified: what is read afterwards is not what was declared.
        """
        ownership.own(connection, self._declared.keys)
        owned = ownership.owned(connection) if self._prune else frozenset()
        left = self._difference(self._ask(changes, owned), owned)
        if left:
            raise NotVerified(
                "Airflow's objects are not what the objects file declares",
                why="; ".join(map(str, left)),
                remedy="Run again; if it stays so, somebody else changes them at the same time",
            )
        ownership.disown(connection, [(one.kind, one.key) for one in changes if one.action == "remove"])

    def _difference(self, found: Sequence[Found], owned: Collection[tuple[str, str]]) -> Sequence[Change]:
        return difference(self._declared.objects, found, key=self._digest_key, owned=owned)

    def _ask(self, changes: Sequence[Change], owned: Collection[tuple[str, str]]) -> Sequence[Found]:
        request = {
            "digest_key": self._digest_key.hex(),
            "objects": sorted({*self._declared.keys, *owned}),
            "passwords": dict(self._declared.set_passwords),
            "needed_roles": list(self._declared.needed_roles),
            "changes": [
                {
                    "action": change.action,
                    "kind": change.kind,
                    "key": change.key,
                    "fields": dict(change.fields),
                    "secrets": dict(change.secrets),
                }
                for change in changes
            ],
        }
        answer = json.loads(
            self._airflow.ask(
                airflow_objects.__file__,
                database_url=self._database_url,
                say=json.dumps(request),
                mark=airflow_objects.MARK,
            )
        )
        if "unreadable" in answer:
            raise FernetMismatch(
                f"The {answer['unreadable']} cannot be decrypted",
                why="this environment's AIRFLOW__CORE__FERNET_KEY is not the one it was encrypted with",
                remedy="Give this task the key that the other services have; nothing was changed",
            )
        if "missing_roles" in answer:
            raise ConfigError(
                "The objects file gives users roles that do not exist",
                problems=[f"there is no role {name!r}" for name in answer["missing_roles"]],
                remedy="Declare them under 'roles', or correct their names",
            )
        return [Found(**one) for one in answer["found"]]
