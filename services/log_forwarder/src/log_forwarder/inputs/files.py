"""The files that are followed: found, opened, read from where we are, given up at their end.

A file is its own spool. Nothing of it is kept in memory but the place; an unfinished line is read again
when the file has grown. The descriptor stays open, so that a task log that Airflow uploads and removes is
still read to its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from log_forwarder.checkpoints import Checkpoints
from log_forwarder.fingerprint import HEAD_BYTES, Fingerprint
from log_forwarder.inputs.descriptors import close, is_deleted, open_same
from log_forwarder.inputs.discovery import Globs, Sighting
from log_forwarder.inputs.open_files import HOT_SECONDS, OpenFiles
from log_forwarder.inputs.tailed import TailedFile, continues, fingerprint

READ_BYTES = 1024 * 1024  # more than the longest piece and its newline, or a long line would never move
_TELL_AFTER_FAILED_READS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A file that is no longer followed.

    Attributes:
        path: where it was.
        unread_bytes: how much of it was seen and could not be read.
        was_open: whether it was read from until its end; else it may have grown unseen since the last scan.
    """

    path: str
    unread_bytes: int
    was_open: bool


class Block(NamedTuple):
    """What was read.

    Attributes:
        data: the bytes from ``file.offset`` on; never empty.
        before: the file's fingerprint at ``file.offset``.
    """

    data: bytes
    before: Fingerprint


class Listener(Protocol):
    """Who is told about unusual files."""

    def restarted(self, path: str) -> None:
        """A file was truncated, or another one has its place; it is read from its start."""

    def unreadable(self, path: str, *, why: str) -> None:
        """A file is there and cannot be opened or read; it will be tried again."""


class FileInput:
    """Follows what the globs name. Used by one thread.

    Args:
        globs: what to look for.
        checkpoints: where to go on, and how far each file was accepted.
        monotonic: the time, in seconds.
        listener: who is told about unusual files.
        open_files_max: how many files may be held open.
    """

    def __init__(
        self,
        *,
        globs: Globs,
        checkpoints: Checkpoints,
        monotonic: Callable[[], float],
        listener: Listener,
        open_files_max: int,
    ) -> None:
        self._globs = globs
        self._checkpoints = checkpoints
        self._monotonic = monotonic
        self._listener = listener
        self._files: dict[tuple[int, int], TailedFile] = {}
        self._has_purged = False
        self._open_files = OpenFiles(most=open_files_max)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(self._files.values())

    def scan(self) -> list[Ended]:
        """Look for new, grown, renamed and removed files; return those that are given up."""
        now = self._monotonic()
        found: set[tuple[int, int]] = set()
        for sighting in self._globs.scan():
            identity = (sighting.device, sighting.inode)
            found.add(identity)
            file = self._files.get(identity)
            if file is None:
                self._files[identity] = self._begin(sighting, now)
            else:
                file.observe(sighting, now)
        if not self._has_purged:
            self._checkpoints.purge(seen_inodes={inode for _, inode in found})
            self._has_purged = True
        for identity, file in self._files.items():
            file.is_named = identity in found
            file.could_not_read = False
            self._look_again(file, now)
        self._open_files.balance(self._files.values(), now, may_close=self._is_accepted)
        ended = [file for file in self._files.values() if not file.is_named and self._is_over(file, now)]
        return [self._end(file) for file in ended]

    def unread(self) -> Iterator[TailedFile]:
        """Yield the files that have something to read, or to be compared with what we know of them."""
        for file in list(self._files.values()):
            if file.has_work:
                yield file

    def unfinished(self, *, idle_seconds: float) -> Iterator[TailedFile]:
        """Yield the files that end in an unfinished line and have not grown for ``idle_seconds``."""
        before = self._monotonic() - idle_seconds
        for file in list(self._files.values()):
            if file.unread_bytes and file.waits_for_growth and file.grew_at <= before:
                yield file

    def read(self, file: TailedFile) -> Block | None:
        """Return the next bytes of a file, from ``file.offset`` (which a truncation moves to 0).

        None when there is nothing, or when the file cannot be read now; the next scan tries again. One
        bad file (EIO, ESTALE) must not keep the others. Sets ``file.known`` when there is something.
        """
        is_kept_open = file.descriptor is not None
        descriptor = file.descriptor
        try:
            if descriptor is None:
                descriptor = open_same(file)
            if descriptor is None:
                file.could_not_read = True  # the next scan sees what became of its name
                return None
            return self._read(file, descriptor)
        except OSError as err:
            self._note_failed_read(file, err)
            return None
        finally:
            if descriptor is not None and not is_kept_open:
                file.is_proven = False
                close(descriptor)

    def lag_bytes(self, *, up_to: Mapping[TailedFile, int] | None = None) -> int:
        """Return how many bytes are in the files and not accepted yet.

        Args:
            up_to: count only bytes before these offsets; a file that is not named counts nothing.
        """
        return sum(
            max(
                0,
                min(file.size_bytes, up_to.get(file, 0) if up_to else file.size_bytes) - self._accepted(file),
            )
            for file in list(self._files.values())
        )

    def close(self) -> None:
        """Close every descriptor."""
        for file in self._files.values():
            self._open_files.close(file)

    def _read(self, file: TailedFile, descriptor: int) -> Block | None:
        file.size_bytes = os.fstat(descriptor).st_size
        if not continues(file, descriptor):
            self._restart(file)
        data = os.pread(descriptor, len(file.marker) + READ_BYTES, file.offset - len(file.marker))
        if not data.startswith(file.marker):  # truncated or rewritten
            self._restart(file)
            data = os.pread(descriptor, READ_BYTES, 0)
        file.failed_reads = 0
        file.looked_at()
        data = data[len(file.marker) :]
        if not data:
            return None
        if file.known is None:
            file.known = self._checkpoints.register(
                path=file.path, device=file.device, inode=file.inode, head=data[:HEAD_BYTES]
            )
        return Block(data, fingerprint(file, descriptor))

    def _begin(self, sighting: Sighting, now: float) -> TailedFile:
        """Take up a file. Whether it is the one we know is seen in its content, before the first read."""
        file = TailedFile(
            path=sighting.path,
            device=sighting.device,
            inode=sighting.inode,
            size_bytes=sighting.size_bytes,
            changed_ns=sighting.changed_ns,
            grew_at=now,
        )
        for known in self._checkpoints.find(file.inode):
            # Device numbers change when a volume is mounted again: then the path vouches for the inode.
            if known.device == file.device or known.path == file.path:
                self._checkpoints.resume(known)
                file.resume(known)
                break
        return file

    def _look_again(self, file: TailedFile, now: float) -> None:
        """Take note of the size of a file that has no name any more."""
        if file.is_named or file.descriptor is None:
            return
        try:
            file.observe_size(os.fstat(file.descriptor).st_size, now)
        except OSError as err:
            self._note_failed_read(file, err)

    def _note_failed_read(self, file: TailedFile, err: OSError) -> None:
        """Leave a file until the next scan; one that is still named then is not just being removed."""
        self._open_files.close(file)
        file.could_not_read = True
        file.failed_reads += 1
        if file.failed_reads == _TELL_AFTER_FAILED_READS:
            self._listener.unreadable(file.path, why=err.strerror or str(err))

    def _restart(self, file: TailedFile) -> None:
        """Begin a new generation: the file was truncated, or its inode belongs to another file now."""
        if file.known is not None:
            self._listener.restarted(file.path)
            self._checkpoints.forget(file.known.generation)
        file.restart()

    def _is_over(self, file: TailedFile, now: float) -> bool:
        """Say whether nothing more can come of a file that has no name (in our globs) any more."""
        if file.descriptor is None:
            return file.unread_bytes > 0 or self._is_accepted(file)
        if file.unread_bytes or not self._is_accepted(file):
            return False
        return is_deleted(file.descriptor) or now - file.grew_at >= HOT_SECONDS

    def _accepted(self, file: TailedFile) -> int:
        return self._checkpoints.offset(file.known.generation) if file.known else 0

    def _is_accepted(self, file: TailedFile) -> bool:
        return self._accepted(file) >= file.offset

    def _end(self, file: TailedFile) -> Ended:
        """Let go of a file. Only one that is certainly deleted is forgotten: a volume may come back."""
        if file.known is not None and file.descriptor is not None and is_deleted(file.descriptor):
            self._checkpoints.forget(file.known.generation)
        ended = Ended(path=file.path, unread_bytes=file.unread_bytes, was_open=file.descriptor is not None)
        self._open_files.close(file)
        del self._files[file.device, file.inode]
        return ended
