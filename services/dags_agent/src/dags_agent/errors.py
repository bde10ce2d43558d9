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


class Refused(Permanent):
    """The candidate must not be published; the live release keeps being served.

    Stays refused until the objects in S3, or the settings, change.
    """

    def __init__(self, reason: Reason, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.reason = reason


class SourceChanged(Transient):
    """An object changed between listing and download; a new listing helps, at once."""


class Fenced(Transient):
    """Somebody else moved ``current``, or placed a hold, while we were building; look again."""
