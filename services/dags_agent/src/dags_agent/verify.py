"""Hash what readers see, and compare it with its manifest: S3 is listed every pass, the disk is not.

Names and sizes are looked at when a process starts. Bytes are read here, then and from time to time, at a
bounded rate: on EFS every byte read is paid for, and shared with the readers.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from dags_agent.disk import foreign_paths
from dags_agent.manifest import Manifest, ReleasedFile
from sidecar.clock import Clock, Stop

_CHUNK_BYTES = 1 << 20
# What opening a file costs on EFS, as if so many bytes had been read: about 1 ms of round trips.
_FILE_COST_BYTES = 64 << 10
_NOT_A_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a tree differs from its manifest.

    Attributes:
        release_id: of the tree.
        damaged: paths that are absent, no plain file, or hold other bytes.
        foreign: paths that were never published there. Byte code is not counted.
    """

    release_id: str
    damaged: frozenset[str]
    foreign: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.damaged or self.foreign)


class Verifier:
    """Verifies one tree at a time, in a thread.

    Args:
        bytes_per_second: how fast at most.
    """

    def __init__(self, *, bytes_per_second: float, clock: Clock, stop: Stop) -> None:
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._stop = stop

    def verify(self, tree: Path, manifest: Manifest) -> Drift | None:
        """Return how a tree differs; None when we were told to stop, or the tree was retired meanwhile.

        Raises:
            OSError: the file system did not answer; nothing is known.
        """
        root = tree.resolve()
        damaged = set()
        began = self._clock.monotonic()
        read_bytes = 0
        for file in manifest.files:
            if not _is_as_published(root, file):
                damaged.add(file.path)
            read_bytes += file.size_bytes + _FILE_COST_BYTES
            ahead_seconds = read_bytes / self._bytes_per_second - (self._clock.monotonic() - began)
            if self._stop.wait_in_thread(ahead_seconds):
                return None
        foreign = foreign_paths(root, manifest)
        if not root.is_dir():
            return None
        return Drift(release_id=manifest.release_id, damaged=frozenset(damaged), foreign=foreign)


def _is_as_published(root: Path, file: ReleasedFile) -> bool:
    """Return whether a file holds the published bytes; one whose hash is not known counts by its size."""
    try:
        descriptor = os.open(root / file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        if err.errno in _NOT_A_FILE:
            return False
        raise
    digest = hashlib.sha256()
    size_bytes = 0
    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return size_bytes == file.size_bytes and file.sha256 in ("", digest.hexdigest())
