"""The steps of a plan, as values. Pure. :mod:`dags_agent.plan` orders them, :mod:`publish` does them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dags_agent.listing import Listing, SourceObject
from dags_agent.manifest import ReleasedFile


class Place(StrEnum):
    """Where a killed run may have left something."""

    BUILDING = "building"  # a half-built release
    TRASH = "trash"  # a retired release, half deleted
    AHEAD = "ahead"  # links for the release after one that is not live any more
    RELEASES = "releases"  # the manifest of a release that is not there, or half of one
    OWN = "own"  # a symlink that was to become `current`, or half of a state file


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something of ours that serves no release any more."""

    place: Place
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Get a leftover out of the way: a tree into the trash, a file for good. Repeatable."""

    leftover: Leftover


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectories:
    """Begin to build ``release_id``, out of the readers' sight.

    Attributes:
        directories: outermost first.
        ahead: of which release there is a tree of links to begin with; None begins with nothing.
    """

    release_id: str
    directories: tuple[str, ...]
    ahead: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFiles:
    """Share unchanged files with ``predecessor``; one that is not as its manifest says is fetched instead."""

    release_id: str
    predecessor: str
    files: tuple[ReleasedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFiles:
    """Download new and changed files; all get the modification time ``mtime_seconds``."""

    release_id: str
    objects: tuple[SourceObject, ...]
    mtime_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileFiles:
    """Refuse the candidate unless each of these Python files compiles."""

    release_id: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Make the tree durable, write its manifest, and move it to its place among the releases."""

    release_id: str
    listing: Listing
    deleted: int = 0
    deploy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Point ``current`` at ``release_id``, if it still points at ``predecessor``."""

    release_id: str
    predecessor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Remember when releases lost their place."""

    superseded: Mapping[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Move a release into the trash. Never the live one."""

    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Make the links of the release that will follow ``live``, as far as there is time. Repeatable."""

    live: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Empty the trash, as far as there is time and the file system lets us. Repeatable."""


# What readers wait for, and what can wait for them: a plan ends with its chores.
Chore = Prepare | Sweep
Step = (
    Discard
    | MakeDirectories
    | LinkFiles
    | FetchFiles
    | CompileFiles
    | Seal
    | Switch
    | Record
    | Retire
    | Chore
)
