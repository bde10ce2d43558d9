"""The kernel's news about directories: a thin binding of inotify(7) by ctypes.

https://man7.org/linux/man-pages/man7/inotify.7.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

MODIFY = 0x002
CLOSE_WRITE = 0x008
MOVED_FROM = 0x040
MOVED_TO = 0x080
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
IS_DIRECTORY = 0x40000000
_ONLY_DIRECTORIES = 0x01000000
_DO_NOT_FOLLOW = 0x02000000

_WANTED = MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # the values of IN_NONBLOCK and IN_CLOEXEC
_HEADER = struct.Struct("iIII")
_READ_BYTES = 256 * 1024


class Event(NamedTuple):
    """Something happened in, or to, a watched directory.

    Attributes:
        watch: the directory's watch; -1 for an overflow.
        mask: what happened.
        cookie: the same for the two ends of a rename; else 0.
        name: the name in the directory; empty for the directory itself.
    """

    watch: int
    mask: int
    cookie: int
    name: str


class NoMoreWatches(OSError):  # noqa: N818 - a state of the machine, not a bug
    """The user's limit of watches (``fs.inotify.max_user_watches``) is reached."""


class Inotify:
    """One inotify descriptor. Used by one thread.

    Raises:
        OSError: the machine has none to give (``fs.inotify.max_user_instances``), or knows no inotify.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, "this system has no inotify")
        self._add = libc.inotify_add_watch
        self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove = libc.inotify_rm_watch
        self.descriptor = int(libc.inotify_init1(_FLAGS))
        if self.descriptor < 0:
            raise _last_error("inotify_init1")

    def watch(self, directory: str) -> int:
        """Watch a directory; the same directory, by whatever name, has the same watch.

        Raises:
            NoMoreWatches: the limit is reached.
            OSError: it is no directory (any more), or may not be read.
        """
        mask = _WANTED | _ONLY_DIRECTORIES | _DO_NOT_FOLLOW
        watch = int(self._add(self.descriptor, os.fsencode(directory), mask))
        if watch < 0:
            raise _last_error(directory)
        return watch

    def forget(self, watch: int) -> None:
        """Watch a directory no longer. One that is gone is forgotten already."""
        self._remove(self.descriptor, watch)

    def events(self) -> Iterator[Event]:
        """Yield what has happened until now; a directory's events are in order."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            watch, mask, cookie, name_bytes = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            name = data[at : at + name_bytes].rstrip(b"\0")
            at += name_bytes
            yield Event(watch, mask, cookie, os.fsdecode(name))

    def close(self) -> None:
        """Forget all. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    if number == errno.ENOSPC:
        return NoMoreWatches(number, "no more inotify watches for this user", what)
    return OSError(number, os.strerror(number), what)
