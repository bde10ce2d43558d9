"""From an S3 key to a relative path, strictly: a key that could leave the tree never becomes one. Pure.

An S3 key is any string of up to 1,024 bytes; a path is not. Nothing is repaired here: tools that
collapse ``a//b`` or ``./a`` let two keys fight over one file (https://github.com/peak/s5cmd/issues/872
is what repairing ``..`` leads to). The map is injective, because it only cuts the prefix off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dags_agent.errors import Reason, Refused, Skip
from dags_agent.globs import matches_any
from dags_agent.listing import Listed, Listing, Skipped, SourceObject

# Byte code from a laptop is stale or useless here, and without its source it is even imported.
ALWAYS_LEFT_OUT = ("__pycache__/", "*.pyc")

# https://docs.aws.amazon.com/efs/latest/ug/limits.html (NAME_MAX)
NAME_BYTES_MAX = 255
# Reading these classes needs a restore first: GET answers 403 InvalidObjectState.
_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
# Controls, surrogates and the two line separators: they break logs and shells, never occur in good faith.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


# Nearly every path there is: printable ASCII, no name that begins with a dot. Others are looked at closely.
_PLAIN_NAME = r"[ -\-0-~][ -.0-~]{0,254}"
_PLAIN = re.compile(f"{_PLAIN_NAME}(?:/{_PLAIN_NAME})*")

# The agent's own names at the top of a tree: its note in every release, its directory in in_place mode.
RESERVED = (".release.json", ".dags-agent")
# What an NFS client makes of an open file that is removed; one that is published could never be deleted.
_NFS_PREFIX = ".nfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRules:
    """Which objects become files.

    Attributes:
        prefix: cut off; empty, or ending in ``/``.
        include, exclude: globs over what follows the prefix.
        refuses_unsafe: whether one key that cannot become a file refuses the whole publish; else it is
            left out and told.
        max_file_bytes: a larger object is left out and told.
        max_files: more than these refuse the publish: it is more often a wrong prefix than a DAG folder.
        marker: relative key of the object that is written last; it gates, and is no file itself.
    """

    prefix: str
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    refuses_unsafe: bool = False
    max_file_bytes: int | None = None
    max_files: int | None = None
    marker: str | None = None


def to_listing(listed: Iterable[Listed], rules: KeyRules) -> Listing:
    """Return what is to be published from what S3 listed.

    Directory markers and what the globs leave out are dropped before anything is judged, so an
    operator can exclude a bad key without deleting it.

    Raises:
        Refused: the listing contradicts itself, is far too long, or (by the rules) a key cannot be a path.
    """
    sorted_out = _SortedOut()
    for item in listed:
        if not item.key.startswith(rules.prefix):
            sorted_out.add(item, rules)  # a server that lists what nobody asked for
            continue
        tail = item.key.removeprefix(rules.prefix)
        if rules.marker is not None and tail == rules.marker:
            sorted_out.marker = _as_object(item, tail)
        elif not _is_marker(tail, item.size_bytes) and _is_wanted(tail, rules.include, rules.exclude):
            sorted_out.add(item, rules)
    sorted_out.refuse_twins()
    sorted_out.leave_out_files_that_are_directories()
    listing = sorted_out.listing()
    if rules.refuses_unsafe and listing.skipped:
        raise _refusal(listing.skipped[0])
    if rules.max_files is not None and len(listing.objects) > rules.max_files:
        raise Refused(
            Reason.TOO_MANY_FILES,
            f"The source lists {len(listing.objects)} files",
            why=f"that is more than DAGS_AGENT_MAX_FILES={rules.max_files}",
            remedy="Check that DAGS_AGENT_SOURCE is the DAGs' prefix, or raise it; the live release stays",
        )
    return listing


class _SortedOut:
    """What a listing's objects become, while they are being sorted out."""

    def __init__(self) -> None:
        self.marker: SourceObject | None = None
        self._objects: list[SourceObject] = []
        self._archived: list[SourceObject] = []
        self._skipped: list[Skipped] = []

    def add(self, item: Listed, rules: KeyRules) -> None:
        """Decide what becomes of one object."""
        path, skipped = _path_or_skipped(item, rules)
        if skipped is not None:
            self._skipped.append(skipped)
            return
        place = self._archived if item.storage_class in _ARCHIVED else self._objects
        place.append(_as_object(item, path))

    def refuse_twins(self) -> None:
        """Raise Refused when a key was listed twice."""
        for item, following in pairwise(sorted((*self._objects, *self._archived), key=_key)):
            if item.key == following.key:
                raise Refused(
                    Reason.UNSAFE_KEY,
                    f"Key {item.key!r} is listed twice",
                    why="the listing contradicts itself",
                    remedy="It is listed again; the live release stays",
                )

    def leave_out_files_that_are_directories(self) -> None:
        """Decide between ``a`` and ``a/b.py``: the directory stays, it holds more."""
        deepest = {item.path.rpartition("/")[0]: item.key for item in (*self._objects, *self._archived)}
        needed = {parent: key for path, key in deepest.items() if path for parent in (*parents(path), path)}
        self._objects = [item for item in self._objects if self._is_no_directory(item, needed)]
        self._archived = [item for item in self._archived if self._is_no_directory(item, needed)]

    def _is_no_directory(self, item: SourceObject, needed: Mapping[str, str]) -> bool:
        below = needed.get(item.path)
        if below is not None:
            why = f"it is a file, and {below!r} needs a directory of that name"
            self._skipped.append(Skipped(key=item.key, skip=Skip.KEY_CONFLICT, why=why))
        return below is None

    def listing(self) -> Listing:
        """Return all of it, sorted."""
        return Listing(
            objects=tuple(sorted(self._objects, key=_key)),
            archived=tuple(sorted(self._archived, key=_key)),
            skipped=tuple(sorted(self._skipped, key=_key)),
            marker=self.marker,
        )


def _key(item: SourceObject | Skipped) -> str:
    """Return what to sort by; paths sort as their keys, which begin alike."""
    return item.key


def _path_or_skipped(item: Listed, rules: KeyRules) -> tuple[str, Skipped | None]:
    try:
        path = relative_path(item.key, prefix=rules.prefix)
    except UnsafeKey as err:
        return "", Skipped(key=item.key, skip=Skip.UNSAFE_KEY, why=str(err))
    if path.partition("/")[0] in RESERVED:
        return "", Skipped(key=item.key, skip=Skip.RESERVED_KEY, why="the name is the agent's own")
    if rules.max_file_bytes is not None and item.size_bytes > rules.max_file_bytes:
        why = f"its {item.size_bytes} bytes are more than DAGS_AGENT_MAX_FILE_BYTES={rules.max_file_bytes}"
        return "", Skipped(key=item.key, skip=Skip.OVERSIZED_OBJECT, why=why)
    return path, None


def _as_object(item: Listed, path: str) -> SourceObject:
    return SourceObject(
        key=item.key,
        path_begins=len(item.key) - len(path),
        size_bytes=item.size_bytes,
        etag=item.etag,
        last_modified=item.last_modified,
    )


class UnsafeKey(ValueError):  # noqa: N818 - a property of a key
    """A key that cannot be a plain path inside the tree; the text says why."""


def relative_path(key: str, *, prefix: str) -> str:
    """Return the path of ``key`` below the release's root.

    Raises:
        UnsafeKey: it cannot be a plain path inside it.
    """
    if not key.startswith(prefix):
        raise UnsafeKey(f"it does not begin with {prefix!r}")
    path = key[len(prefix) :]
    if _PLAIN.fullmatch(path):
        return path
    for name in path.split("/"):
        why = _why_not_a_name(name)
        if why:
            raise UnsafeKey(why)
    return path


def parents(path: str) -> list[str]:
    """Return the directories that lead to ``path``, outermost first."""
    names = path.split("/")
    return ["/".join(names[:depth]) for depth in range(1, len(names))]


def _why_not_a_name(name: str) -> str:
    if name == "":
        return "it has an empty name between slashes"
    if name in (".", ".."):
        return f"{name!r} is not a name"
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        return "it holds a control character"
    if name.startswith(_NFS_PREFIX):
        return f"NFS clients keep {_NFS_PREFIX}* for themselves"
    if len(name.encode()) > NAME_BYTES_MAX:
        return f"a name in it is longer than {NAME_BYTES_MAX} bytes"
    return ""


def _is_marker(tail: str, size_bytes: int) -> bool:
    """Consoles and Hadoop tools keep "folders" as empty objects."""
    return size_bytes == 0 and (tail == "" or tail.endswith("/"))


def _is_wanted(tail: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    may_be_byte_code = ".pyc" in tail or "__pycache__" in tail
    if (may_be_byte_code and matches_any(tail, ALWAYS_LEFT_OUT)) or matches_any(tail, exclude):
        return False
    return not include or matches_any(tail, include)


def _refusal(skipped: Skipped) -> Refused:
    reason = Reason.ARCHIVED_OBJECT if skipped.skip is Skip.ARCHIVED_OBJECT else Reason.UNSAFE_KEY
    return Refused(
        reason,
        f"Key {skipped.key!r} cannot become a file",
        why=skipped.why,
        remedy="Delete or rename the object, or add it to DAGS_AGENT_EXCLUDE; the live release stays",
    )
