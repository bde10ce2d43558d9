"""Which files are followed: taken up when they are sighted, let go when they are over or have gone cold.

Followed are files with something to ship, and as many silent ones as may stay open. All others are
``ColdFiles``: 17 bytes each, and a row in the checkpoints.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from log_forwarder.airflow_path import identify, kind_of
from log_forwarder.checkpoints import Checkpoints, FileOrigin, Known
from log_forwarder.envelope import printable
from log_forwarder.inputs.cold_files import ColdFiles
from log_forwarder.inputs.descriptors import is_deleted
from log_forwarder.inputs.discovery import Sighting
from log_forwarder.inputs.open_files import OpenFiles
from log_forwarder.inputs.tailed import TailedFile
from sidecar.errors import Transient

REMOVED_SECONDS = 2.0  # a removed file may still be written to: its writer holds it open as we do
HOT_SECONDS = 60.0  # one that was only renamed out of the globs, for much longer
_PURGE_SECONDS = 86_400.0
_TENDING_SECONDS = 0.2  # what happens to a file is told by events; this is for what they cannot tell
_MOST_LOOKED_AT = 64  # for one to close; finding the best of all would cost more than reading without keeping


class Listener(Protocol):
    """Who is told about files that are over."""

    def ended(self, path: str, *, unread_bytes: int, was_open: bool) -> None:
        """A file is gone; with unread bytes when it could not be read to its end."""

    def cold_ended(self, count: int) -> None:
        """So many files are gone that had been shipped whole, and were not open since."""

    def tended(self, *, tracked: int, is_open: int) -> None:
        """The files were looked after."""


class FollowedFiles:
    """The files of the input, in the order in which something last happened to them. Used by one thread.

    Args:
        checkpoints: where to go on, and how far each file was accepted.
        listener: who is told about files that are over.
        monotonic: the time, in seconds.
        open_files_max: how many files may be held open.
    """

    def __init__(
        self,
        *,
        checkpoints: Checkpoints,
        listener: Listener,
        monotonic: Callable[[], float],
        open_files_max: int,
    ) -> None:
        self.open_files = OpenFiles(most=open_files_max)
        self.cold = ColdFiles()
        self.ready: dict[TailedFile, None] = {}
        self._checkpoints = checkpoints
        self._listener = listener
        self._monotonic = monotonic
        self._files: dict[tuple[int, int], TailedFile] = {}
        self._by_path: dict[str, TailedFile] = {}
        self._unnamed: dict[TailedFile, None] = {}
        self._over: list[int] = []
        self._devices: set[int] = set()
        self._round = 0
        self._next_purge = self._next_tending = monotonic()

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(list(self._files.values()))

    def __len__(self) -> int:
        return len(self._files) + len(self.cold)

    # ------------------------------------------------------------ what the finder tells

    def sighted(self, sighting: Sighting) -> None:
        """A file that the globs name is there."""
        identity = (sighting.device, sighting.inode)
        self._devices.add(sighting.device)
        now = self._monotonic()
        file = self._files.get(identity)
        if file is None:
            if self.cold.meet(*sighting[1:5]):
                return
            file = self._take_up(sighting, now)
            if file is None:
                return
        elif file.path != sighting.path:
            self._by_path.pop(file.path, None)
        file.observe(sighting, now)
        file.seen_in = self._round
        file.is_named = True
        self._unnamed.pop(file, None)
        self._by_path[file.path] = file
        if file.has_changed:
            self._files[identity] = self._files.pop(identity)  # to the end: the latest
            self.ready[file] = None
            self.hold_open(file)

    def vanished(self, path: str) -> None:
        """Nothing wanted is at this path any more; the file may have a new name, or none."""
        file = self._by_path.get(path)
        if file is not None:
            file.is_named = False
            self._unnamed[file] = None
            self.look_again(file)

    def begin_round(self) -> None:
        """A scan of everything begins."""
        self._round += 1
        self.cold.begin_round()

    def end_round(self) -> None:
        """A scan of everything ended."""
        self._listener.cold_ended(self.cold.end_round())
        self._next_tending = self._monotonic()
        for file in self:
            if file.seen_in != self._round:
                file.is_named = False
                self._unnamed[file] = None
            if file.failed_reads:
                self.ready[file] = None
        if self._monotonic() >= self._next_purge:
            self._next_purge = self._monotonic() + _PURGE_SECONDS
            with contextlib.suppress(Transient):  # tomorrow then
                self._checkpoints.purge(is_there=self._is_there)

    # ------------------------------------------------------------ looking after them

    def tend(self) -> None:
        """Look at files that have no name, let go of those that are over; make room for others."""
        now = self._monotonic()
        if now < self._next_tending:
            return
        self._next_tending = now + _TENDING_SECONDS
        for file in list(self._unnamed):
            self.look_again(file)
            if not file.is_named and self._is_over(file, now):
                self._end(file)
        excess = len(self._files) - self.open_files.most
        if excess > 0:
            self._make_cold(list(self._files.values()), excess)
        if self._over:
            self._forget()
        self._listener.tended(tracked=len(self), is_open=self.open_files.count)

    def look_again(self, file: TailedFile) -> None:
        """Take note of the size of a file that has no name any more."""
        if file.descriptor is None:
            return
        try:
            status = os.fstat(file.descriptor)
        except OSError:
            file.failed_reads += 1
            self.open_files.close(file)
            return
        file.observe_size(status.st_size, file.changed_ns, self._monotonic())
        if file.unread_bytes:
            self.ready[file] = None

    def hold_open(self, file: TailedFile) -> None:
        """Open a file for as long as there are descriptors; the silent make room for it."""
        if file.descriptor is not None:
            return
        if self.open_files.is_full:
            self._make_room()
        if not self.open_files.is_full:
            try:
                self.open_files.open(file)
            except OSError:
                return  # a read tells it, and every scan tries again

    def restart(self, file: TailedFile) -> None:
        """Begin a new generation: the file was truncated, or its inode belongs to another file now."""
        if file.known is not None:
            self._over.append(file.known.generation)
        file.restart()

    def register(self, file: TailedFile, head: bytes) -> FileOrigin:
        """Give a file that has no generation one.

        Raises:
            Transient: it cannot be written down now.
        """
        if file.origin is None:
            known = self._checkpoints.register(
                path=file.path, device=file.device, inode=file.inode, head=head
            )
            file.known = known
            file.origin = self._origin(known)
        return file.origin

    def let_go(self, sighting: Sighting) -> None:
        """A file was deleted by ourselves, shipped whole: nothing is to be told of it."""
        self.cold.remove(sighting.device, sighting.inode)
        file = self._files.get((sighting.device, sighting.inode))
        if file is not None:
            if file.known is not None:
                self._over.append(file.known.generation)
            self._drop(file)

    def close(self) -> None:
        """Close every descriptor."""
        for file in self:
            self.open_files.close(file)

    def _forget(self) -> None:
        with contextlib.suppress(Transient):  # the next time; an old row harms nobody
            self._checkpoints.forget(self._over)
            self._over = []

    def _is_there(self, inode: int) -> bool:
        """Say whether a file with this number was sighted, on whatever device it is now."""
        return any((device, inode) in self._files or self.cold.has(device, inode) for device in self._devices)

    def _take_up(self, sighting: Sighting, now: float) -> TailedFile | None:
        """Begin to follow a file; None for one that nothing has happened to since it was shipped.

        Whether it is the one we know is seen in its content, before the first read.
        """
        file = TailedFile(
            sighting.path, sighting.device, sighting.inode, sighting.size_bytes, sighting.changed_ns, now
        )
        for known in self._checkpoints.find(file.inode):
            # Device numbers change when a volume is mounted again: then the path vouches for the inode.
            if known.device == file.device or known.path == file.path:
                is_the_same = (known.offset, known.changed_ns) == (file.size_bytes, file.changed_ns)
                if is_the_same and len(self._files) >= self.open_files.most:
                    self.cold.add(file.device, file.inode, file.size_bytes, file.changed_ns)
                    return None
                file.resume(known, self._origin(known))
                break
        self.cold.remove(file.device, file.inode)
        self._files[file.device, file.inode] = file
        return file

    def _origin(self, known: Known) -> FileOrigin:
        about: Mapping[str, object] = identify(printable(known.path))
        return FileOrigin(known=known, kind=kind_of(known.path), keeper=self._checkpoints, about=about)

    def _make_room(self) -> None:
        """Close the file that is needed least: one that is over, else the one that was silent longest."""
        now = self._monotonic()
        for file in itertools.islice(self._unnamed, _MOST_LOOKED_AT):
            if file.descriptor is not None and not file.unread_bytes and now > file.grew_at:
                self._end(file)
                return
        longest_silent = list(itertools.islice(self._files.values(), _MOST_LOOKED_AT))
        self._make_cold(longest_silent, 1)
        if self.open_files.is_full:
            for file in longest_silent:
                if file.descriptor is not None and not file.unread_bytes:
                    self.open_files.close(file)
                    return

    def _make_cold(self, files: Iterable[TailedFile], count: int) -> None:
        """Let go of up to ``count`` of these that were shipped whole."""
        for file in files:
            if count <= 0:
                return
            if file.is_named and file.is_done and file not in self.ready:
                self.cold.add(file.device, file.inode, file.size_bytes, file.changed_ns)
                self._drop(file)
                count -= 1

    def _is_over(self, file: TailedFile, now: float) -> bool:
        """Say whether nothing more can come of a file that has no name (in our globs) any more."""
        if file.descriptor is None:
            return True
        if file.unread_bytes:
            return False
        silent_seconds = now - file.grew_at
        if silent_seconds < REMOVED_SECONDS:
            return False
        return silent_seconds >= HOT_SECONDS or is_deleted(file.descriptor)

    def _end(self, file: TailedFile) -> None:
        """Let go of a file. Only one that is certainly deleted is forgotten: a volume may come back."""
        if file.known is not None and file.descriptor is not None and is_deleted(file.descriptor):
            self._over.append(file.known.generation)
        self._listener.ended(file.path, unread_bytes=file.unread_bytes, was_open=file.descriptor is not None)
        self._drop(file)

    def _drop(self, file: TailedFile) -> None:
        self.open_files.close(file)
        self._files.pop((file.device, file.inode), None)
        self._unnamed.pop(file, None)
        self.ready.pop(file, None)
        if self._by_path.get(file.path) is file:
            del self._by_path[file.path]
