"""Reads and changes Airflow's objects, inside Airflow's own Python.

This file is run by the Python of the image with one JSON request on its standard input, and answers with one
marked line. Passwords come through that pipe and never leave: what is there is told by keyed digests. All
changes of a request are one transaction.
"""

from __future__ import annotations

import abc
import hashlib
import hmac
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

MARK = "standalone-init-objects:"
"""What the line with the answer begins with; Airflow and its plugins may print anything else before it."""

_FAB = "airflow.providers.fab.auth_manager"
_BUILT_IN_ROLES = {"Admin", "Op", "User", "Viewer", "Public"}

Json = dict[str, Any]


def _of(module: str, name: str) -> Any:
    """Import late: only what is asked for, and only where Airflow is."""
    return getattr(importlib.import_module(module), name)


class Unreadable(Exception):  # noqa: N818 - a statement about a value, not a failure of this program
    """A value cannot be decrypted with the Fernet key of this environment."""


class Kind(abc.ABC):
    """The objects of one kind, in one session."""

    module: str
    model_name: str
    key_column: str

    def __init__(self, session: Any, digest_key: bytes) -> None:
        self._session = session
        self._digest_key = digest_key

    @property
    def model(self) -> Any:
        """Airflow's model of them."""
        return _of(self.module, self.model_name)

    def find(self, key: str) -> Any:
        """Return the one of this name, or None."""
        return self._one(self.model, **{self.key_column: key})

    def make(self, key: str) -> Any:
        """Return a new one of this name."""
        return self.model(**{self.key_column: key})

    @abc.abstractmethod
    def fields(self, one: Any) -> Json:
        """Say what it is, but for its secrets."""

    def digests(self, _one: Any) -> Json:
        """Say what its secrets are compared by."""
        return {}

    def set(self, one: Any, fields: Json, secrets: Json) -> None:
        """Give it these values."""
        for name, value in {**fields, **secrets}.items():
            setattr(one, name, value)

    def has_password(self, _one: Any, _password: str) -> bool:
        """Say whether this is its password; only users have one."""
        return False

    def _digest(self, value: str | None) -> str | None:
        return (
            None if value is None else hmac.new(self._digest_key, value.encode(), hashlib.sha256).hexdigest()
        )

    def _one(self, model: Any, **columns: object) -> Any:
        return self._session.query(model).filter_by(**columns).one_or_none()

    def _have(self, model: Any, **columns: object) -> Any:
        """Return the row with these columns; make it when it is not there."""
        found = self._one(model, **columns)
        if found is None:
            found = model(**columns)
            self._session.add(found)
            self._session.flush()
        return found


class Pools(Kind):
    """Pools."""

    module, model_name, key_column = "airflow.models.pool", "Pool", "pool"

    def fields(self, one: Any) -> Json:
        """Say what it is."""
        return {
            "slots": one.slots,
            "description": one.description or "",
            "include_deferred": one.include_deferred,
        }


class Variables(Kind):
    """Variables."""

    module, model_name, key_column = "airflow.models.variable", "Variable", "key"

    def fields(self, one: Any) -> Json:
        """Say what it is, but for its value."""
        return {"description": one.description}

    def digests(self, one: Any) -> Json:
        """Say what its value is compared by."""
        value = one.get_val()
        if value is None:
            raise Unreadable(f"variable {one.key}")
        return {"value": self._digest(value)}

    def set(self, one: Any, fields: Json, secrets: Json) -> None:
        """Give it these values, encrypted."""
        super().set(one, fields, {})
        if "value" in secrets:
            one.set_val(secrets["value"])


class Connections(Kind):
    """Connections."""

    module, model_name, key_column = "airflow.models.connection", "Connection", "conn_id"

    def make(self, key: str) -> Any:
        """Return a new one; its type follows with its fields."""
        return self.model(conn_id=key, conn_type="generic")

    def fields(self, one: Any) -> Json:
        """Say what it is, but for password and extra."""
        names = ("conn_type", "host", "schema", "login", "port", "description")
        return {name: getattr(one, name) for name in names}

    def digests(self, one: Any) -> Json:
        """Say what is compared of it that may be secret."""
        password, extra = one.get_password(), one.get_extra()
        found = {name: self._digest(getattr(one, name)) for name in ("host", "schema", "login")}
        return {**found, "password": self._digest(password), "extra": self._digest(_canonical(extra))}

    def set(self, one: Any, fields: Json, secrets: Json) -> None:
        """Give it these values, password and extra encrypted."""
        plain = {name: value for name, value in secrets.items() if name not in ("password", "extra")}
        super().set(one, fields, plain)
        if "password" in secrets:
            one.set_password(secrets["password"])
        if "extra" in secrets:
            one.set_extra(secrets["extra"])


class Roles(Kind):
    """Roles of FAB."""

    module, model_name, key_column = f"{_FAB}.models", "Role", "name"

    def fields(self, one: Any) -> Json:
        """Say what it may do."""
        return {"permissions": sorted([pair.action.name, pair.resource.name] for pair in one.permissions)}

    def set(self, one: Any, fields: Json, secrets: Json) -> None:
        """Give it exactly these permissions."""
        super().set(
            one, {"permissions": [self._permission(*pair) for pair in fields.get("permissions", ())]}, secrets
        )

    def _permission(self, action: str, resource: str) -> Any:
        its_action = self._have(_of(self.module, "Action"), name=action)
        its_resource = self._have(_of(self.module, "Resource"), name=resource)
        permission = _of(self.module, "Permission")
        return self._have(permission, action_id=its_action.id, resource_id=its_resource.id)


class Users(Kind):
    """Users of FAB."""

    module, model_name, key_column = f"{_FAB}.models", "User", "username"

    def find(self, key: str) -> Any:
        """Return the one of this name; as for FAB, its case does not count."""
        lower = _of("sqlalchemy", "func").lower
        return self._session.query(self.model).filter(lower(self.model.username) == key.lower()).one_or_none()

    def make(self, key: str) -> Any:
        """Return a new one who never logged in."""
        return self.model(username=key, login_count=0, fail_login_count=0)

    def fields(self, one: Any) -> Json:
        """Say who it is."""
        return {
            "email": one.email,
            "first_name": one.first_name,
            "last_name": one.last_name,
            "roles": sorted(role.name for role in one.roles),
            "active": bool(one.active),
        }

    def set(self, one: Any, fields: Json, secrets: Json) -> None:
        """Give it these values, the password hashed."""
        values = dict(fields)
        if "roles" in values:
            roles = Roles(self._session, self._digest_key)
            values["roles"] = [roles.find(name) for name in values["roles"]]
        if "password" in secrets:
            values["password"] = _of("werkzeug.security", "generate_password_hash")(secrets["password"])
        super().set(one, values, {})

    def has_password(self, one: Any, password: str) -> bool:
        """Say whether this is its password."""
        return bool(one.password) and _of("werkzeug.security", "check_password_hash")(one.password, password)


_KINDS: dict[str, Callable[[Any, bytes], Kind]] = {
    "pool": Pools,
    "variable": Variables,
    "connection": Connections,
    "role": Roles,
    "user": Users,
}


def answer(request: Json, session: Any) -> Json:
    """Make the changes, if any, and say of the named objects what is there then.

    Raises:
        Unreadable: a value cannot be decrypted; nothing was changed.
    """
    kinds = {name: kind(session, bytes.fromhex(request["digest_key"])) for name, kind in _KINDS.items()}
    for change in request["changes"]:
        _make(change, kinds[change["kind"]], session)
    found = []
    for name, key in request["objects"]:
        password = request["passwords"].get(key) if name == "user" else None
        try:
            found += _shown(name, key, kinds[name], password)
        except _of("cryptography.fernet", "InvalidToken") as err:
            raise Unreadable(f"{name} {key}") from err
    return {"found": found}


def _shown(name: str, key: str, kind: Kind, password: str | None) -> list[Json]:
    one = kind.find(key)
    if one is None:
        return []
    return [
        {
            "kind": name,
            "key": key,
            "fields": kind.fields(one),
            "digests": kind.digests(one),
            "has_wanted_password": password is not None and kind.has_password(one, password),
        }
    ]


def _make(change: Json, kind: Kind, session: Any) -> None:
    one = kind.find(change["key"])
    if change["action"] == "remove":
        if one is not None:
            session.delete(one)
    else:
        if one is None:
            one = kind.make(change["key"])
            session.add(one)
        kind.set(one, change["fields"], change["secrets"])
    session.flush()


def missing_roles(names: list[str], session: Any) -> list[str]:
    """Return which of these roles are not there, after FAB was let to make its own."""
    roles = Roles(session, b"")
    missing = [name for name in names if roles.find(name) is None]
    if set(missing) & _BUILT_IN_ROLES:
        session.rollback()
        with _of(f"{_FAB}.cli_commands.utils", "get_application_builder")() as builder:
            builder.sm.sync_roles()
        missing = [name for name in names if roles.find(name) is None]
    return missing


def _canonical(extra: str | None) -> str | None:
    try:
        return json.dumps(json.loads(extra), sort_keys=True, separators=(",", ":")) if extra else None
    except ValueError:
        return extra


def main() -> int:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    session = _of("airflow.settings", "Session")()
    try:
        missing = missing_roles(request["needed_roles"], session)
        reply = {"missing_roles": missing} if missing else answer(request, session)
        session.commit()
    except Unreadable as err:
        session.rollback()
        reply = {"unreadable": str(err)}
    finally:
        session.close()
    sys.stdout.write(f"\n{MARK}{json.dumps(reply)}\n")
    return 0


if __name__ == "__main__":
    # The first entry is this file's own directory, whose modules must not stand in for anybody else's.
    del sys.path[0]
    sys.exit(main())
