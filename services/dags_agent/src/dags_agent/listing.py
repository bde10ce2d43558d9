"""What S3 says is there. Pure values; :mod:`dags_agent.source` makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol


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
    """An object to publish, with the relative path it becomes (see :mod:`dags_agent.keys`)."""

    key: str
    path: str
    size_bytes: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All objects to publish, sorted by path; complete, or it would not exist."""

    objects: tuple[SourceObject, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Equal for listings that would publish the same files."""
        return fingerprint(self.objects)


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
    for item in sorted(objects, key=lambda item: item.path):
        digest.update(f"{item.path}\0{item.size_bytes}\0{item.etag}\0".encode())
    return digest.hexdigest()
