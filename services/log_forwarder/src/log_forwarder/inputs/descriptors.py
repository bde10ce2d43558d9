"""File descriptors: how many we may hold, and that an opened name still means the file we meant."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import Protocol

_FILES_MIN = 16
_AT_ONCE = 16_384  # files with something unread, while whoever reads them waits for the disk or the stream
_OTHERS = 384  # sockets of senders and clients, SQLite, spool segments, the HTTP port, files being closed


class Identified(Protocol):
    """A file by name and identity."""

    @property
    def path(self) -> str:
        """Where it was last seen."""

    @property
    def device(self) -> int:
        """The number of its device."""

    @property
    def inode(self) -> int:
        """Its number there."""


def open_same(file: Identified) -> int | None:
    """Open a file by its name; None when the name means another file by now.

    Raises:
        OSError: it cannot be opened now.
    """
    descriptor = open_quietly(file.path, os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
    except OSError:
        close(descriptor)
        raise
    if (status.st_dev, status.st_ino) == (file.device, file.inode):
        return descriptor
    close(descriptor)
    return None


def open_quietly(path: str, flags: int) -> int:
    """Open for reading without a note of the access where that is allowed.

    The note is a write: whoever reads a new file or directory would wait for the disk's journal.

    Raises:
        OSError: it cannot be opened now.
    """
    flags |= os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(path, flags)  # open(2): only the owner may leave it out


def close(descriptor: int) -> None:
    """Close what was only read: an error of the file system, which NFS reports here, changes nothing."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def descriptors_for_files(wanted: int) -> tuple[int, int]:
    """Raise the process's limit as far as allowed and needed.

    Args:
        wanted: how many silent files should stay open.

    Returns:
        How many silent ones may stay open, and how many files may be open in all.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _AT_ONCE + _OTHERS
    limit = max(soft, needed if hard == resource.RLIM_INFINITY else min(hard, needed))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    in_all = max(_FILES_MIN, min(wanted + _AT_ONCE, limit - _OTHERS))
    return min(wanted, in_all), in_all


def is_deleted(descriptor: int) -> bool:
    """Say whether certainly no name leads to this open file any more; False while that cannot be seen."""
    try:
        return os.fstat(descriptor).st_nlink == 0
    except OSError:
        return False
