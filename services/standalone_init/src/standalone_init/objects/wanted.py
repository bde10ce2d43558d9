"""What a document declares, as values of one shape, with its references resolved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from standalone_init.objects.document import Connection, Document, Reference, Value
from standalone_init.objects.model import Wanted

Resolve = Callable[[Reference], str]


def references(document: Document) -> Iterator[Reference]:
    """Yield every reference of the file."""
    for user in document.users:
        yield user.password
    values: list[Any] = [variable.value for variable in document.variables]
    for one in document.connections:
        values += [one.host, one.schema_, one.login, one.password]
        values += [one.extra_value(key) for key in one.extra or {}]
    yield from (value for value in values if isinstance(value, Reference))


def wanted(document: Document, resolve: Resolve) -> list[Wanted]:
    """Return the declared objects with their references resolved, in the order in which they are made."""
    made: list[Wanted] = [
        Wanted(
            kind="role",
            key=role.name,
            fields={"permissions": sorted(list(pair) for pair in set(role.permissions))},
        )
        for role in document.roles
    ]
    made += [
        Wanted(
            kind="user",
            key=user.username,
            fields={
                "email": user.email,
                "first_name": user.first_name,
                "last_name": user.last_name,
                "roles": sorted(set(user.roles)),
                "active": user.active,
            },
            first_password=resolve(user.password),
            sets_password=user.rotate,
        )
        for user in document.users
    ]
    made += [
        Wanted(
            kind="pool",
            key=pool.name,
            fields={
                "slots": pool.slots,
                "description": pool.description,
                "include_deferred": pool.include_deferred,
            },
        )
        for pool in document.pools
    ]
    for variable in document.variables:
        described = {} if variable.description is None else {"description": variable.description}
        value = _resolved(variable.value, resolve)
        made.append(Wanted(kind="variable", key=variable.key, fields=described, secrets={"value": value}))
    made += [_connection(connection, resolve) for connection in document.connections]
    return made


def _connection(connection: Connection, resolve: Resolve) -> Wanted:
    declared = connection.model_fields_set
    fields: dict[str, Any] = {"conn_type": connection.type}
    fields.update({name: getattr(connection, name) for name in ("port", "description") if name in declared})
    secrets: dict[str, str | None] = {}
    for name in ("host", "schema_", "login", "password"):
        if name in declared:
            value = getattr(connection, name)
            # What lies in a secret store is secret, whatever field it is for.
            is_secret = name == "password" or isinstance(value, Reference)
            (secrets if is_secret else fields)[name.rstrip("_")] = _resolved(value, resolve)
    if connection.extra is not None:
        extra = {key: _resolved(connection.extra_value(key), resolve) for key in connection.extra}
        secrets["extra"] = canonical(extra)
    return Wanted(kind="connection", key=connection.id, fields=fields, secrets=secrets)


def canonical(extra: Any) -> str:
    """Return JSON that is the same for the same content."""
    return json.dumps(extra, sort_keys=True, separators=(",", ":"))


def _resolved(value: Value | Any, resolve: Resolve) -> Any:
    return resolve(value) if isinstance(value, Reference) else value
