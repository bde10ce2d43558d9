"""Objects as values of one shape, whatever their kind: what is compared, and what may be shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["pool", "variable", "connection", "role", "user"]
KINDS: tuple[Kind, ...] = ("role", "user", "pool", "variable", "connection")
"""In the order in which they are made: users need their roles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One declared object.

    Attributes:
        kind, key: which.
        fields: what it must be; fields that were not declared are absent and left as they are.
        secrets: the same, for what is never shown.
        first_password: of a user who has to be made; None for other kinds.
        sets_password: whether an existing user gets that password, too.
    """

    kind: Kind
    key: str
    fields: Mapping[str, Any]
    secrets: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    first_password: str | None = field(default=None, repr=False)
    sets_password: bool = False
