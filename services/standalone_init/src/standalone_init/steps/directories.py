"""Make a directory and prove that it can be written to."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from sidecar.files import fsync_directory
from standalone_init.errors import FilesUnusable
from standalone_init.plan import Directory

_PROBE = ".standalone-init-probe-"
_PERMISSIONS = 0o7777


def modes(directories: Iterable[Directory]) -> dict[str, int]:
    """Return the permission bits of those that exist.

    Raises:
        FilesUnusable: something that is not a directory has that name, or it may not be looked at.
    """
    found: dict[str, int] = {}
    for directory in directories:
        path = Path(directory.path)
        try:
            if path.is_dir():
                found[directory.path] = path.stat().st_mode & _PERMISSIONS
            elif path.exists() or path.is_symlink():
                raise FilesUnusable(
                    f"{path} is not a directory", why="a file has that name", remedy="Move it away"
                )
        except OSError as err:
            raise _unusable(path, err) from err
    return found


def make(directory: Directory) -> None:
    """Make it with all above it, or correct its mode. Idempotent.

    Raises:
        FilesUnusable: the file system refuses.
    """
    path = Path(directory.path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if directory.mode is not None:
            path.chmod(directory.mode)  # mkdir's mode is cut by the umask
        fsync_directory(path.parent)
    except OSError as err:
        raise _unusable(path, err) from err


def probe(directory: Directory) -> None:
    """Create, fsync, rename and remove a file, as this user; leaves nothing behind.

    Raises:
        FilesUnusable: one of these fails: read-only mount, wrong access point, wrong uid.
    """
    path = Path(directory.path)
    first = path / f"{_PROBE}{secrets.token_hex(6)}"
    second = first.with_suffix(".renamed")
    try:
        try:
            descriptor = os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, b"probe")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            first.rename(second)
        finally:
            first.unlink(missing_ok=True)
            second.unlink(missing_ok=True)
    except OSError as err:
        raise _unusable(path, err) from err


def _unusable(path: Path, err: OSError) -> FilesUnusable:
    return FilesUnusable(
        f"The directory {path} is not usable",
        why=f"{err.strerror} (as uid {os.getuid()}, gid {os.getgid()})",
        remedy="Check that the volume is mounted read-write, and the EFS access point's uid, gid and mode",
    )
