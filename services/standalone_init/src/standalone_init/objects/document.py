"""The objects file: what may stand in it, judged as a whole before anything is looked at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sidecar.errors import ConfigError
from sidecar.settings import nearest

_WHAT = "STANDALONE_INIT_OBJECTS_FILE is not usable"
# airflow.models.base.ID_LEN
_ID_LENGTH = 250

Name = Annotated[str, Field(min_length=1, max_length=_ID_LENGTH, pattern=r"^[^\x00-\x1f]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, values: object) -> object:
        if isinstance(values, Mapping):
            known = list(cls.model_fields)
            unknown = [f"{key!r}{nearest(str(key), known)}" for key in values if key not in known]
            if unknown:
                raise ValueError(f"no such key {', '.join(unknown)}")
        return values


class Reference(_Strict):
    """A value that lies elsewhere: ``{secret: name, key: field}``, ``{parameter: name}``, ``{env: NAME}``."""

    secret: Name | None = None
    key: Name | None = None
    parameter: Name | None = None
    env: Name | None = None

    @model_validator(mode="after")
    def _names_one_place(self) -> Self:
        if sum(place is not None for place in (self.secret, self.parameter, self.env)) != 1:
            raise ValueError("give exactly one of 'secret', 'parameter' and 'env'")
        if self.key is not None and self.secret is None:
            raise ValueError("'key' picks a field of a 'secret'")
        return self

    def __str__(self) -> str:
        """Where the value lies; never the value."""
        if self.secret is not None:
            return f"secret {self.secret}" + (f" field {self.key}" if self.key else "")
        return f"parameter {self.parameter}" if self.parameter else f"variable {self.env}"


Value = str | Reference


class Pool(_Strict):
    """Slots that tasks share."""

    name: Name
    slots: int = Field(ge=-1)
    description: str = ""
    include_deferred: bool = False


class Variable(_Strict):
    """A value that DAGs read."""

    key: Name
    value: Value
    description: str | None = None


class Connection(_Strict):
    """How DAGs reach something; ``extra`` is a mapping whose values may be references."""

    id: Annotated[Name, Field(pattern=r"^[\w.:/#()-]+$")]
    type: Name
    host: Value | None = None
    schema_: Value | None = Field(default=None, alias="schema")
    login: Value | None = None
    password: Value | None = None
    port: int | None = Field(default=None, ge=0, le=65535)
    extra: dict[str, Any] | None = None
    description: str | None = None

    def extra_value(self, key: str) -> Any:
        """Return one entry of ``extra``, as a reference when it is one.

        Raises:
            ValueError: it looks like a reference and is none.
        """
        value = (self.extra or {})[key]
        if isinstance(value, Mapping) and value and set(value) <= {"secret", "key", "parameter", "env"}:
            return Reference.model_validate(value)
        return value


class Role(_Strict):
    """What its holders may do, under FAB: pairs of an action and a resource."""

    name: Name
    permissions: tuple[tuple[Name, Name], ...]


class User(_Strict):
    """Who may log in, under FAB. The password is set when the user is made, later with ``rotate`` alone."""

    username: Name
    email: Name
    first_name: Name
    last_name: Name
    roles: tuple[Name, ...] = Field(min_length=1)
    password: Reference
    rotate: bool = False
    active: bool = True


class Document(_Strict):
    """The whole file."""

    version: Literal[1]
    pools: tuple[Pool, ...] = ()
    variables: tuple[Variable, ...] = ()
    connections: tuple[Connection, ...] = ()
    roles: tuple[Role, ...] = ()
    users: tuple[User, ...] = ()

    @model_validator(mode="after")
    def _nothing_is_declared_twice(self) -> Self:
        declared = {
            "pool": [pool.name for pool in self.pools],
            "variable": [variable.key for variable in self.variables],
            "connection": [connection.id for connection in self.connections],
            "role": [role.name for role in self.roles],
            "user": [user.username.lower() for user in self.users],
            "email": [user.email.lower() for user in self.users],
        }
        twice = [
            f"{kind} {name!r}"
            for kind, names in declared.items()
            for name, count in Counter(names).items()
            if count > 1
        ]
        if twice:
            raise ValueError(f"declared more than once: {', '.join(twice)}")
        for connection in self.connections:
            for key in connection.extra or {}:
                connection.extra_value(key)
            json.dumps(connection.extra)  # YAML has dates, JSON has not
        return self


def read(path: Path) -> Document:
    """Return what the file declares.

    Raises:
        ConfigError: it cannot be read or is wrong; all its problems are named in one go.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as err:
        raise ConfigError(_WHAT, why=f"{path}: {' '.join(str(err).split())}") from err
    try:
        return Document.model_validate(content)
    except (ValidationError, TypeError) as err:
        raise ConfigError(_WHAT, problems=[f"{path}: {problem}" for problem in _problems(err)]) from None


def _problems(err: ValidationError | TypeError) -> Iterator[str]:
    if isinstance(err, TypeError):
        yield str(err)
        return
    # Never the input itself: it may hold a password that somebody wrote here by mistake.
    for problem in err.errors(include_input=False, include_url=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"])
        said = problem["msg"].removeprefix("Value error, ")
        yield f"{place}: {said}" if place else said
