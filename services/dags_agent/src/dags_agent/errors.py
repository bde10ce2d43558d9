"""What can go wrong with a publish, by what a caller may do about it."""

from __future__ import annotations

from enum import StrEnum

from sidecar.errors import Permanent, Transient


class Reason(StrEnum):
    """Why a candidate was refused. The value is a metric label: never rename, only add."""

    EMPTY_LISTING = "empty_listing"
    TOO_MANY_DELETIONS = "too_many_deletions"
    UNSAFE_KEY = "unsafe_key"
    ARCHIVED_OBJECT = "archived_object"
    DOES_NOT_COMPILE = "does_not_compile"
    TOO_MANY_FILES = "too_many_files"


class Skip(StrEnum):
    """Why one object is left out of a release. The value is a metric label: never rename, only add."""

    UNSAFE_KEY = "unsafe_key"  # it cannot be a plain path inside the target
    KEY_CONFLICT = "key_conflict"  # another key needs a directory of that name
    RESERVED_KEY = "reserved_key"  # a name that is the agent's own
    ARCHIVED_OBJECT = "archived_object"  # reading it needs a restore first
    OVERSIZED_OBJECT = "oversized_object"


class TargetFault(StrEnum):
    """What the target's file system said. The value is a metric label: never rename, only add."""

    FULL = "full"
    READ_ONLY = "read_only"
    STALE = "stale"
    IO = "io"
    PERMISSION = "permission"
    OTHER = "other"


class Refused(Permanent):
    """The candidate must not be published; the live release keeps being served.

    Stays refused until the objects in S3, or the settings, change.

    Attributes:
        reason: for the metric.
        path, line: the file at fault and the line in it, where there is one; line 0 is not known.
        is_certain: whether the same objects are refused again for sure: a compiler that was killed may
            have been killed for its neighbours' memory.
    """

    def __init__(
        self,
        reason: Reason,
        what: str,
        *,
        why: str = "",
        remedy: str = "",
        path: str = "",
        line: int = 0,
        is_certain: bool = True,
    ) -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.reason = reason
        self.path = path
        self.line = line
        self.is_certain = is_certain


class SourceChanged(Transient):
    """An object changed between listing and download; a new listing helps, at once."""


class Archived(SourceChanged):
    """Objects cannot be read before a restore, though their storage class does not say so.

    Intelligent-Tiering moves objects into its archive tiers under the class that it had. A new listing,
    without them, helps at once.

    Attributes:
        versions: key and ETag of each.
    """

    def __init__(self, versions: frozenset[tuple[str, str]]) -> None:
        key = min(versions)[0]
        more = f" and {len(versions) - 1} more" if len(versions) > 1 else ""
        super().__init__(f"Key {key!r}{more} cannot be read", why="it is archived (InvalidObjectState)")
        self.versions = versions


class StandsBy(Transient):
    """Another agent is publishing into the same target, and lives. Looking again later helps."""


class TargetFailed(Transient):
    """The target's file system refused; the live release stays. A retry may help, after the remedy."""

    def __init__(self, fault: TargetFault, what: str, *, why: str, remedy: str) -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.fault = fault


class Fenced(Transient):
    """Somebody else moved ``current``, or placed a hold, while we were building; look again."""
