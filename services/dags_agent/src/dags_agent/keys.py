"""From an S3 key to a relative path, strictly: a key that could leave the tree never becomes one. Pure.

An S3 key is any string of up to 1,024 bytes; a path is not. Nothing is repaired here: tools that
collapse ``a//b`` or ``./a`` let two keys fight over one file (https://github.com/peak/s5cmd/issues/872
is what repairing ``..`` leads to). The map is injective, because it only cuts the prefix off.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from dags_agent.errors import Reason, Refused
from dags_agent.globs import matches_any
from dags_agent.listing import Listed, Listing, SourceObject

# Byte code from a laptop is stale or useless here, and without its source it is even imported.
ALWAYS_LEFT_OUT = ("__pycache__/", "*.pyc")

# https://docs.aws.amazon.com/efs/latest/ug/limits.html (NAME_MAX)
NAME_BYTES_MAX = 255
# Reading these classes needs a restore first: GET answers 403 InvalidObjectState.
_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
# Controls, surrogates and the two line separators: they break logs and shells, never occur in good faith.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


def to_listing(
    listed: Iterable[Listed], *, prefix: str, include: Sequence[str], exclude: Sequence[str]
) -> Listing:
    """Return what is to be published from what S3 listed.

    Directory markers and what the globs leave out are dropped before anything is judged, so an
    operator can exclude a bad key without deleting it.

    Raises:
        Refused: a key cannot be a path, collides with another, or cannot be read; it is named.
    """
    objects: dict[str, SourceObject] = {}
    for item in listed:
        tail = item.key.removeprefix(prefix)
        if _is_marker(tail, item.size_bytes) or not _is_wanted(tail, include, exclude):
            continue
        path = relative_path(item.key, prefix=prefix)
        if path in objects:
            raise _unsafe(item.key, "it is listed twice")
        if item.storage_class in _ARCHIVED:
            raise _archived(item)
        objects[path] = SourceObject(
            key=item.key,
            path=path,
            size_bytes=item.size_bytes,
            etag=item.etag,
            last_modified=item.last_modified,
        )
    _refuse_files_that_are_directories(objects)
    return Listing(objects=tuple(objects[path] for path in sorted(objects)))


def relative_path(key: str, *, prefix: str) -> str:
    """Return the path of ``key`` below the release's root.

    Raises:
        Refused: it cannot be a plain path inside it.
    """
    if not key.startswith(prefix):
        raise _unsafe(key, f"it does not begin with {prefix!r}")
    path = key[len(prefix) :]
    for name in path.split("/"):
        why = _why_not_a_name(name)
        if why:
            raise _unsafe(key, why)
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
    if len(name.encode()) > NAME_BYTES_MAX:
        return f"a name in it is longer than {NAME_BYTES_MAX} bytes"
    return ""


def _is_marker(tail: str, size_bytes: int) -> bool:
    """Consoles and Hadoop tools keep "folders" as empty objects."""
    return size_bytes == 0 and (tail == "" or tail.endswith("/"))


def _is_wanted(tail: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if matches_any(tail, ALWAYS_LEFT_OUT) or matches_any(tail, exclude):
        return False
    return not include or matches_any(tail, include)


def _refuse_files_that_are_directories(objects: dict[str, SourceObject]) -> None:
    for path, item in objects.items():
        for parent in parents(path):
            if parent in objects:
                raise _unsafe(objects[parent].key, f"it is a file, and {item.key!r} needs a directory")


def _unsafe(key: str, why: str) -> Refused:
    return Refused(
        Reason.UNSAFE_KEY,
        f"Key {key!r} cannot become a file",
        why=why,
        remedy="Delete or rename the object, or add it to DAGS_AGENT_EXCLUDE; the live release stays",
    )


def _archived(item: Listed) -> Refused:
    return Refused(
        Reason.ARCHIVED_OBJECT,
        f"Key {item.key!r} cannot be read",
        why=f"its storage class is {item.storage_class}",
        remedy="Restore and copy it to STANDARD, or add it to DAGS_AGENT_EXCLUDE; the live release stays",
    )
