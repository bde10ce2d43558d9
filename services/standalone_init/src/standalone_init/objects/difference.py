"""What lies between the objects that are declared and those that are there. Pure.

Secret values are compared by keyed digests: those that are there never leave Airflow's process.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from standalone_init.objects.model import KINDS, Kind, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One object that is there.

    Attributes:
        fields: as Airflow has them.
        digests: of its secret values, keyed; None when a value is absent.
        has_wanted_password: for a user whose password shall be set: whether it is that one already.
    """

    kind: Kind
    key: str
    fields: Mapping[str, Any]
    digests: Mapping[str, str | None] = field(default_factory=dict)
    has_wanted_password: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object to make, change or remove.

    Attributes:
        fields, secrets: only what differs; all that is declared when it is made.
        before: what the fields are now, to be shown.
    """

    action: Literal["create", "change", "remove"]
    kind: Kind
    key: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    before: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """For people; a secret is named, not shown."""
        what = f"{self.action} {self.kind} {self.key}"
        if self.action != "change":
            return what
        shown = [f"{name} {self.before.get(name)!r} to {value!r}" for name, value in self.fields.items()]
        return f"{what}: {', '.join([*shown, *self.secrets])}"


def digest(value: str | None, *, key: bytes) -> str | None:
    """Return what a secret value is compared by."""
    return None if value is None else hmac.new(key, value.encode(), hashlib.sha256).hexdigest()


def difference(
    declared: Sequence[Wanted],
    found: Sequence[Found],
    *,
    key: bytes,
    owned: Collection[tuple[str, str]] = (),
) -> Sequence[Change]:
    """Return what is to be done, in order; nothing when all is as declared.

    Args:
        declared: what must be there.
        found: what is there, of the declared and of the owned objects at least.
        key: of the digests in ``found``.
        owned: kind and key of the objects that an earlier file declared and that may be removed when this one
            does not; empty unless pruning was asked for.
    """
    there = {(one.kind, one.key): one for one in found}
    changes = [change for one in declared if (change := _change(one, there.get((one.kind, one.key)), key))]
    kept = {(one.kind, one.key) for one in declared}
    for kind in reversed(KINDS):
        changes += [
            Change(action="remove", kind=kind, key=name)
            for (its_kind, name) in sorted(owned)
            if its_kind == kind and (kind, name) not in kept and (kind, name) in there
        ]
    return changes


def _change(one: Wanted, there: Found | None, key: bytes) -> Change | None:
    if there is None:
        secrets = dict(one.secrets)
        if one.first_password is not None:
            secrets["password"] = one.first_password
        return Change(action="create", kind=one.kind, key=one.key, fields=one.fields, secrets=secrets)
    fields = {name: value for name, value in one.fields.items() if there.fields.get(name) != value}
    secrets = {
        name: value
        for name, value in one.secrets.items()
        if there.digests.get(name) != digest(value, key=key)
    }
    if one.sets_password and not there.has_wanted_password:
        secrets["password"] = one.first_password
    if not fields and not secrets:
        return None
    before = {name: there.fields.get(name) for name in fields}
    return Change(action="change", kind=one.kind, key=one.key, fields=fields, secrets=secrets, before=before)
