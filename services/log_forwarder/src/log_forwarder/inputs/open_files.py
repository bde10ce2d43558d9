"""Which files are held open, so that one that is removed can still be read to its end.

As many silent ones as there are descriptors for, those that something happened to last: Airflow removes a
task's log when it has uploaded it, and the last lines of a task that was silent for an hour may be written
within the second before. And every one that has something unread, up to the limit of the process.
"""

from __future__ import annotations

from log_forwarder.inputs.closer import Closer
from log_forwarder.inputs.descriptors import open_same
from log_forwarder.inputs.discovery import Sighting
from log_forwarder.inputs.tailed import TailedFile

_CLOSING = 128  # that many more may wait to be closed; see ``descriptors_for_files``


class OpenFiles:
    """Spends a number of descriptors.

    Two threads share it without a lock: one that notices opens what is not held (:meth:`open_early`) and
    hands the descriptor over; one that reads does all else. What they share is a set, whose single
    operations the interpreter makes atomic; a file opened by both at a time is closed once when it is met.

    Attributes:
        count: how many files the reading thread has open.

    Args:
        most: how many silent files may be open at a time.
        limit: how many files may be open in all.
    """

    def __init__(self, *, most: int, limit: int) -> None:
        self.most = most
        self.count = 0
        self._limit = limit
        self._held: set[tuple[int, int]] = set()
        self._closer = Closer()

    @property
    def is_full(self) -> bool:
        """Whether a silent one must be closed before another is opened."""
        return self.count >= self.most

    @property
    def is_exhausted(self) -> bool:
        """Whether none may be opened, whatever is in it."""
        return len(self._held) + max(0, self._closer.waiting - _CLOSING) >= self._limit

    def holds(self, device: int, inode: int) -> bool:
        """Say whether this file is open, or on its way to who reads it. Any thread."""
        return (device, inode) in self._held

    def open_early(self, sighting: Sighting) -> int | None:
        """Open a file that is not held, for :meth:`adopt`; None when it is, or there is no descriptor left.

        Raises:
            OSError: it cannot be opened (any more).
        """
        identity = (sighting.device, sighting.inode)
        if identity in self._held or self.is_exhausted:
            return None
        descriptor = open_same(sighting)
        if descriptor is not None:
            self._held.add(identity)
        return descriptor

    def adopt(self, file: TailedFile, descriptor: int) -> None:
        """Take over a descriptor that was opened early."""
        if file.descriptor is not None:
            self._closer.close(descriptor)
            return
        file.descriptor = descriptor
        self._held.add((file.device, file.inode))
        self.count += 1

    def give_back(self, sighting: Sighting, descriptor: int) -> None:
        """Close a descriptor that was opened early, and that nobody needs."""
        self._held.discard((sighting.device, sighting.inode))
        self._closer.close(descriptor)

    def open(self, file: TailedFile) -> bool:
        """Open a file and keep it open; return False when its name means another file by now.

        Raises:
            OSError: it cannot be opened now.
        """
        descriptor = open_same(file)
        if descriptor is None:
            return False
        self.adopt(file, descriptor)
        return True

    def close(self, file: TailedFile) -> None:
        """Close a file, if it is open."""
        if file.descriptor is not None:
            self._held.discard((file.device, file.inode))
            self._closer.close(file.descriptor)
            file.descriptor = None
            file.is_proven = False
            self.count -= 1

    def end(self) -> None:
        """Wait until everything that was closed is closed; nothing is held any more."""
        self._closer.end()
