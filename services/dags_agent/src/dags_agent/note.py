"""The note in every release, ``.release.json``: what it is, for readers, pipelines and the next pass.

A contract: fields are added, never renamed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from dags_agent.manifest import Manifest

NAME = ".release.json"
_FORMAT = 1
_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNote:
    """What one release says about itself.

    Attributes:
        id: of the release.
        source: the URL it was made from.
        published_at: when it was sealed, ISO 8601, UTC.
        files, size_bytes: how many are in it, this note left out.
        changed, deleted: files, compared with the release before.
        digest: ``sha256:`` over the lines ``<sha256 of the file>  <path>`` of all files, sorted by path, as
            ``sha256sum`` prints them: a reader can prove the whole tree.
        fingerprint: over path, size and ETag: what was listed.
        deploy: what the deployer calls it, as the marker says.
        marker_etag: of the marker object, with its quotes.
        marker_written_at: its LastModified, ISO 8601.
    """

    id: str
    source: str
    published_at: str
    files: int
    size_bytes: int
    changed: int
    deleted: int
    digest: str
    fingerprint: str
    deploy: str = ""
    marker_etag: str = ""
    marker_written_at: str = ""

    def to_json(self) -> bytes:
        """Return the text of the file."""
        return json.dumps({"format": _FORMAT} | asdict(self), indent=1).encode() + b"\n"


def note_of(manifest: Manifest, *, at: datetime, changed: int, deleted: int) -> ReleaseNote:
    """Return the note of a release that is about to be sealed."""
    return ReleaseNote(
        id=manifest.release_id,
        source=manifest.source,
        published_at=at.astimezone(UTC).isoformat(timespec="milliseconds"),
        files=len(manifest.files),
        size_bytes=sum(file.size_bytes for file in manifest.files),
        changed=changed,
        deleted=deleted,
        digest=tree_digest(manifest),
        fingerprint=manifest.fingerprint,
        deploy=manifest.deploy,
        marker_etag=manifest.marker_etag,
        marker_written_at=manifest.marker_written_at,
    )


def tree_digest(manifest: Manifest) -> str:
    """Return what :attr:`ReleaseNote.digest` says."""
    digest = hashlib.sha256()
    for file in sorted(manifest.files, key=lambda file: file.path):
        digest.update(f"{file.sha256}  {file.path}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def read_note(tree: Path) -> ReleaseNote | None:
    """Return the note in a tree; None when there is none that can be understood.

    Raises:
        OSError: the file system did not answer.
    """
    try:
        with (tree / NAME).open("rb") as file:
            text = file.read(_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_note(text)


def parse_note(text: bytes) -> ReleaseNote | None:
    """Return the note that a text is; None when it is none. Unknown fields are ignored."""
    try:
        document = json.loads(text)
        known = {name: document[name] for name in ReleaseNote.__dataclass_fields__ if name in document}
        return ReleaseNote(**known)
    except (ValueError, TypeError):
        return None
