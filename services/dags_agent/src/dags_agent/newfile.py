"""Files that did not exist before, at the price of two writes on NFS: one to create, one to close.

They get their modification time from the file system, because setting one would be a third. It must not be
earlier than the release's own second (see :func:`dags_agent.plan.make_plan`), nor of another clock; then, and
only then, it is set.

A tree is made durable in one go before it gets its name (:func:`make_durable`), not file by file.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

_FILE_MODE = 0o666  # less the umask
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A file system whose clock is ahead of ours by more than this is not asked for the time.
_AHEAD_SECONDS_MAX = 3600
_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = ("nfs", "nfs4")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBefore:
    """The second that a release's files may not be older than."""

    second: int

    def settle(self, path: Path) -> int:
        """Return the modification second of a file just written, after setting it where it must be set."""
        found = int(path.lstat().st_mtime)
        if self.second <= found <= self.second + _AHEAD_SECONDS_MAX:
            return found
        os.utime(path, (self.second, self.second), follow_symlinks=False)
        return self.second


def write_new(path: Path, content: bytes, not_before: NotBefore) -> int:
    """Write a small file whole; return its modification second.

    Raises:
        OSError: nothing of that name is left, so that it can be tried again.
    """
    file = NewFile(path)
    try:
        file.create()
        file.write(content)
        return file.finish(not_before)
    except BaseException:
        file.abandon()
        raise


class NewFile:
    """A file being written. One call at a time; :meth:`finish` or :meth:`abandon` is the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def create(self) -> None:
        """Begin it.

        Raises:
            FileExistsError: there is something of that name.
            OSError: it cannot be created.
        """
        self._descriptor = os.open(self._path, _NEW, _FILE_MODE)

    def write(self, chunk: bytes) -> None:
        """Append to it."""
        assert self._descriptor is not None  # noqa: S101 - a caller's bug, not the world's
        written = os.write(self._descriptor, chunk)
        rest = memoryview(chunk)[written:]
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def finish(self, not_before: NotBefore) -> int:
        """Close it and return its modification second. On NFS the error of a write may come only now."""
        self._close()
        return not_before.settle(self._path)

    def abandon(self) -> None:
        """Leave the name free for another attempt."""
        try:
            self._close()
        finally:
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def make_durable(tree: Path) -> None:
    """Return when everything below ``tree`` is on the disk, directories too.

    Nothing to do on NFS: a file is on the server's disk when it is closed, names are when they are made, and
    errors come with those calls (https://docs.aws.amazon.com/efs/latest/ug/how-it-works.html). Elsewhere the
    whole file system is written out once: for 5,000 files that is seconds sooner than an fsync for each.

    Raises:
        OSError: something could not be written.
    """
    if file_system_of(tree) in _NETWORK:
        return
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # only Linux has it
        os.sync()
        return
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(tree))
    finally:
        os.close(descriptor)


def file_system_of(path: Path) -> str:
    """Return the type of the file system, as in ``/etc/fstab``; empty when it is not known."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == number:
            return rest.split()[0]
    return ""
