"""What S3 says is there. Pure values; :mod:`dags_agent.source` makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Protocol

from dags_agent.errors import Skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object exactly as ListObjectsV2 told it.

    Attributes:
        key: decoded, otherwise untouched.
        etag: with its quotes; an opaque token that changes with the content.
        storage_class: as S3 names it, e.g. ``STANDARD``.
    """

    key: str
    size_bytes: int
    etag: str
    last_modified: datetime
    storage_class: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceObject:
    """An object to publish, with the relative path it becomes (see :mod:`dags_agent.keys`).

    Attributes:
        path_begins: where in ``key`` the path does: 100,000 keys are held once, not twice.
    """

    key: str
    path_begins: int
    size_bytes: int
    etag: str
    last_modified: datetime

    @property
    def path(self) -> str:
        """Relative to the release, ``/`` between names."""
        return self.key[self.path_begins :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An object that is left out, and the others are published without it.

    Attributes:
        key: as S3 has it.
        skip: for the metric.
        why: for people.
    """

    key: str
    skip: Skip
    why: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All objects to publish, sorted by path; complete, or it would not exist.

    Attributes:
        objects: what can be read and published.
        archived: what cannot be read now; kept where the live release has exactly these bytes already.
        skipped: what never becomes a file, sorted by key.
        marker: the object that a deployer writes last, when one is asked for and there.
    """

    objects: tuple[SourceObject, ...]
    archived: tuple[SourceObject, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    marker: SourceObject | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Equal for listings that would publish the same files."""
        return fingerprint(self.objects)

    @cached_property
    def seen(self) -> str:
        """Equal for listings in which nothing at all differs that a pass looks at."""
        marker = f"{self.marker.etag}:{self.marker.last_modified.isoformat()}" if self.marker else ""
        keys = "\0".join(f"{item.skip}:{item.key!r}" for item in self.skipped)
        return f"{self.fingerprint}:{fingerprint(self.archived)}:{marker}:{keys}"


def is_same_marker(marker: SourceObject, *, etag: str, written_at: str) -> bool:
    """Return whether a marker is the one that was published: written again, it announces a deploy of its own.

    A deployer may write the same bytes each time (``_SUCCESS`` is empty), so its time counts too. S3 tells
    whole seconds: the same bytes twice within one are one marker.

    Args:
        marker: that is listed now.
        etag: of the published one; empty for none.
        written_at: its LastModified, ISO 8601; empty where a release of an older version does not say.
    """
    return marker.etag == etag and written_at in ("", marker.last_modified.isoformat())


class _Versioned(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def etag(self) -> str: ...


def fingerprint(objects: Iterable[_Versioned]) -> str:
    """Return the SHA-256 (hex) over path, size and ETag of each object; time never counts.

    LastModified has a resolution of one second: two uploads within one would look the same.
    """
    digest = hashlib.sha256()
    for item in sorted(objects, key=attrgetter("path")):
        digest.update(f"{item.path}\0{item.size_bytes}\0{item.etag}\0".encode())
    return digest.hexdigest()
