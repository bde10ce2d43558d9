"""File descriptors: how many we may hold, and that an opened name still means the file we meant."""

from __future__ import annotations

import os
import resource
from typing import Protocol

_FILES_MAX = 8192
_FILES_MIN = 16
_OTHERS = 128  # sockets, SQLite, the HTTP port


class Identified(Protocol):
    """A file by name and identity."""

    path: str
    device: int
    inode: int


def open_same(file: Identified) -> int | None:
    """Open a file by its name; None when it cannot be opened or the name means another file by now."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) == (file.device, file.inode):
        return descriptor
    os.close(descriptor)
    return None


def is_deleted(descriptor: int) -> bool:
    """Say whether no name leads to this open file any more."""
    return os.fstat(descriptor).st_nlink == 0


def descriptors_for_files() -> int:
    """Raise the process's limit as far as allowed and useful; return how many files may stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX + _OTHERS
    limit = max(soft, wanted if hard == resource.RLIM_INFINITY else min(hard, wanted))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(_FILES_MIN, min(_FILES_MAX, limit - _OTHERS))
