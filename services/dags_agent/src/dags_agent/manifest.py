"""What a release holds, file by file: the agent's memory of S3, and the readers' proof of the bytes.

It lies beside its release as ``releases/<id>.json``. A change is found by comparing a listing with it,
never by looking at the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

from dags_agent.listing import fingerprint

_FORMAT = 1
_FILES_BEGIN = ', "files": ['
_FILES_END = b"]}\n"
_RELEASE_ID = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}")
_TIME = "%Y%m%dT%H%M%SZ"


class ManifestUnreadable(ValueError):  # noqa: N818 - a state of a file, like FileNotFound
    """The text is no manifest of this program; a retry does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedFile:
    """One file of a release.

    Attributes:
        key: of the object it came from.
        path_begins: where in ``key`` the path does.
        etag: of that object, with quotes; empty when it is not known.
        version_id: the object's version, when the bucket is versioned.
        sha256: of the bytes on disk, hex; empty when it is not known.
        mtime_seconds: the file's modification time, whole Unix seconds.
    """

    key: str
    path_begins: int
    size_bytes: int
    etag: str
    version_id: str | None
    last_modified: datetime
    sha256: str
    mtime_seconds: int

    @property
    def path(self) -> str:
        """Relative to the release, ``/`` between names."""
        return self.key[self.path_begins :]


_FIELDS = ("key", "path", "size_bytes", "etag", "version_id", "last_modified", "sha256", "mtime_seconds")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One release.

    Attributes:
        release_id: see :func:`new_release_id`.
        source: the URL it was made from.
        files: sorted by path.
        marker_etag: of the object that said that the upload is complete; empty without one.
        deploy: what the deployer calls this deploy, as the marker says; empty when it does not.
        marker_written_at: that object's LastModified, ISO 8601; empty without one.
    """

    release_id: str
    source: str
    files: tuple[ReleasedFile, ...]
    marker_etag: str = ""
    deploy: str = ""
    marker_written_at: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Equal to the fingerprint of the listing it was made from."""
        return fingerprint(self.files)

    @cached_property
    def by_path(self) -> dict[str, ReleasedFile]:
        """The files by their path."""
        return {file.path: file for file in self.files}

    @property
    def directories(self) -> set[str]:
        """Return every directory that its files lie in, and their parents."""
        deepest = {file.path.rpartition("/")[0] for file in self.files}
        names = [directory.split("/") for directory in deepest if directory]
        return {"/".join(each[:depth]) for each in names for depth in range(1, len(each) + 1)}

    def to_json(self) -> bytes:
        """Return the text that :meth:`from_json` reads back: a line per file, for ``grep`` and ``diff``."""
        head = {
            "format": _FORMAT,
            "release_id": self.release_id,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "marker_etag": self.marker_etag,
            "deploy": self.deploy,
            "marker_written_at": self.marker_written_at,
        }
        encode = json.JSONEncoder(ensure_ascii=False).encode
        text = bytearray(f"{encode(head)[:-1]}{_FILES_BEGIN}".encode())
        for number, file in enumerate(self.files):
            text += f"{',' if number else ''}\n{encode(_fields(file))}".encode()
        text += b"\n" + _FILES_END
        return bytes(text)

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read a manifest; raises as :meth:`from_lines`."""
        return cls.from_lines(text.splitlines(keepends=True))

    @classmethod
    def from_lines(cls, lines: Iterable[bytes]) -> Manifest:
        """Read a manifest from the lines of its file, without holding them all.

        Raises:
            ManifestUnreadable: it is torn, edited by hand, or of another format.
        """
        try:
            document, files = _read(iter(lines))
            manifest = cls(
                release_id=document["release_id"],
                source=document["source"],
                files=files,
                marker_etag=str(document.get("marker_etag", "")),
                deploy=str(document.get("deploy", "")),
                marker_written_at=str(document.get("marker_written_at", "")),
            )
            known = (document["format"], document["fingerprint"])
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            raise ManifestUnreadable(f"{type(err).__name__}: {err}") from err
        if known != (_FORMAT, manifest.fingerprint):
            raise ManifestUnreadable(f"format {known[0]!r}, or its fingerprint, does not match the files")
        return manifest


def _read(lines: Iterator[bytes]) -> tuple[dict[str, Any], tuple[ReleasedFile, ...]]:
    """Return the head and the files; line by line: 100,000 at once would be 150 MB of dicts."""
    first = next(lines, b"")
    head = first.decode().rstrip("\n")
    if not head.endswith(_FILES_BEGIN):  # somebody formatted it anew
        document: dict[str, Any] = json.loads(first + b"".join(lines))
        return document, tuple(map(_released, document["files"]))
    files: list[ReleasedFile] = []
    for line in lines:
        if line == _FILES_END:
            return json.loads(f"{head.removesuffix(_FILES_BEGIN)}}}"), tuple(files)
        if line != b"\n":
            files.append(_released(json.loads(line.rstrip(b",\n"))))
    raise ValueError("it ends too early")


def _released(row: dict[str, Any]) -> ReleasedFile:
    path, key = row.pop("path"), row["key"]
    if not key.endswith(path):
        raise ValueError(f"{path!r} is not the end of key {key!r}")
    row["last_modified"] = _time(row["last_modified"])
    return ReleasedFile(**row, path_begins=len(key) - len(path))


@lru_cache(maxsize=1024)
def _time(text: str) -> datetime:
    """An upload gives many objects one second: one value of it for all."""
    return datetime.fromisoformat(text)


def _fields(file: ReleasedFile) -> dict[str, object]:
    told: dict[str, object] = {name: getattr(file, name) for name in _FIELDS}
    told["last_modified"] = file.last_modified.isoformat()
    return told


def new_release_id(published_second: int, fingerprint_hex: str) -> str:
    """Return an id that sorts by time and names the content, e.g. ``20260102T030405Z-1a2b3c4d``."""
    return f"{datetime.fromtimestamp(published_second, UTC).strftime(_TIME)}-{fingerprint_hex[:8]}"


def is_release_id(name: str) -> bool:
    """Return whether a directory of this name is ours; others are left alone."""
    return _RELEASE_ID.fullmatch(name) is not None and _time_of(name) is not None


def published_at(release_id: str) -> datetime:
    """Return the publish second (aware, UTC) that an id carries; raises ValueError for other names."""
    time = _time_of(release_id)
    if time is None:
        raise ValueError(f"{release_id!r} is not a release id")
    return time


def _time_of(name: str) -> datetime | None:
    match = _RELEASE_ID.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
