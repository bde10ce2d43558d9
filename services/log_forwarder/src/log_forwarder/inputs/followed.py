"""Which files are followed: taken up when they are sighted, let go when they are over or have gone cold.

Followed are files with something to ship, and as many silent ones as may stay open. All others are
``ColdFiles``: 17 bytes each, and a row in the checkpoints.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from log_forwarder.inputs.cold_files import ColdFiles
from log_forwarder.inputs.descriptors import is_deleted
from log_forwarder.inputs.discovery import Sighting
from log_forwarder.inputs.open_files import OpenFiles
from log_forwarder.inputs.registry import Registry
from log_forwarder.inputs.tailed import TailedFile

REMOVED_SECONDS = 2.0  # a removed file may still be written to: its writer holds it open as we do
HOT_SECONDS = 60.0  # one that was only renamed out of the globs, for much longer
_PURGE_SECONDS = 86_400.0
_TENDING_SECONDS = 0.2  # what happens to a file is told by events; this is for what they cannot tell
_MOST_LOOKED_AT = 64  # for one to close; finding the best of all would cost more than reading without keeping


class Listener(Protocol):
    """Who is told about files that are over."""

    def missed(self, path: str) -> None:
        """A file, or a directory that may have held some, came and went before it could be opened."""

    def ended(self, path: str, *, unread_bytes: int, was_open: bool) -> None:
        """A file is gone; with unread bytes when it could not be read to its end."""

    def cold_ended(self, count: int) -> None:
        """So many files are gone that had been shipped whole, and were not open since."""

    def tended(self, *, tracked: int, is_open: int) -> None:
        """The files were looked after."""


class FollowedFiles:
    """The files of the input, in the order in which something last happened to them. Used by one thread.

    Args:
        registry: what is known of files from before.
        listener: who is told about files that are over.
        monotonic: the time, in seconds.
        open_files: holds them open.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        listener: Listener,
        monotonic: Callable[[], float],
        open_files: OpenFiles,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self.open_files = open_files
        self.cold = ColdFiles()
        self.ready: dict[TailedFile, None] = {}
        self.registry = registry
        self._listener = listener
        self._monotonic = monotonic
        self._now_ns = now_ns
        self._files: dict[tuple[int, int], TailedFile] = {}
        self._by_path: dict[str, TailedFile] = {}
        self._unnamed: dict[TailedFile, None] = {}
        self._devices: set[int] = set()
        self._round = 0
        self._next_purge = self._next_tending = monotonic()

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(list(self._files.values()))

    def __len__(self) -> int:
        return len(self._files) + len(self.cold)

    # ------------------------------------------------------------ what the finder tells

    def sighted(self, sighting: Sighting, descriptor: int | None = None) -> None:
        """A file that the globs name is there; it may come with a descriptor, opened when it was noticed."""
        identity = (sighting.device, sighting.inode)
        self._devices.add(sighting.device)
        now = self._monotonic()
        file = self._files.get(identity)
        if file is None and not self.cold.meet(*sighting[1:5]):
            file = self._take_up(sighting, now)
        if file is None:
            if descriptor is not None:
                self.open_files.give_back(sighting, descriptor)
            return
        if self._by_path.get(file.path) is file and file.path != sighting.path:
            del self._by_path[file.path]
        file.observe(sighting, now)
        file.seen_in = self._round
        file.is_named = True
        self._unnamed.pop(file, None)
        self._by_path[file.path] = file
        if descriptor is not None:
            self._adopt(file, descriptor)
        if file.has_changed:
            self._files[identity] = self._files.pop(identity)  # to the end: the latest
            self.ready[file] = None
            self.hold_open(file)

    def missed(self, path: str) -> None:
        """A file, or a directory that may have held some, came and went before it could be opened."""
        self._listener.missed(path)

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
            self.registry.purge(self._is_there)

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
        self.registry.forget()
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
        if not self.open_files.is_exhausted:
            try:
                self.open_files.open(file)
            except OSError:
                return  # a read tells it, and every scan tries again

    def restart(self, file: TailedFile) -> None:
        """Begin a new generation: the file was truncated, or its inode belongs to another file now."""
        self.registry.is_over(file)
        file.restart()

    def let_go(self, sighting: Sighting) -> None:
        """A file was deleted by ourselves, shipped whole: nothing is to be told of it."""
        self.cold.remove(sighting.device, sighting.inode)
        file = self._files.get((sighting.device, sighting.inode))
        if file is not None:
            self.registry.is_over(file)
            self._drop(file)

    def close(self) -> None:
        """Close every descriptor."""
        for file in self:
            self.open_files.close(file)
        self.open_files.end()

    def _is_there(self, inode: int) -> bool:
        """Say whether a file with this number was sighted, on whatever device it is now."""
        return any((device, inode) in self._files or self.cold.has(device, inode) for device in self._devices)

    def _take_up(self, sighting: Sighting, now: float) -> TailedFile | None:
        """Begin to follow a file; None for one that nothing has happened to since it was shipped."""
        file = TailedFile(
            sighting.path, sighting.device, sighting.inode, sighting.size_bytes, sighting.changed_ns, now
        )
        known = self.registry.known(file)
        if known is not None:
            is_the_same = (known.offset, known.changed_ns) == (file.size_bytes, file.changed_ns)
            if is_the_same and len(self._files) >= self.open_files.most:
                self.cold.add(file.device, file.inode, file.size_bytes, file.changed_ns)
                return None
            file.resume(known, self.registry.origin(known))
        self.cold.remove(file.device, file.inode)
        self._files[file.device, file.inode] = file
        if file.unread_bytes:
            age_seconds = max(0.0, (self._now_ns() - file.changed_ns) / 1e9) if self._now_ns else 0.0
            file.note_growth(file.size_bytes, now - age_seconds)  # it may be there since before we were
        return file

    def _adopt(self, file: TailedFile, descriptor: int) -> None:
        if self.open_files.is_full:
            self._make_room()
        self.open_files.adopt(file, descriptor)

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
        if file.descriptor is not None and is_deleted(file.descriptor):
            self.registry.is_over(file)
        self._listener.ended(file.path, unread_bytes=file.unread_bytes, was_open=file.descriptor is not None)
        self._drop(file)

    def _drop(self, file: TailedFile) -> None:
        self.open_files.close(file)
        self._files.pop((file.device, file.inode), None)
        self._unnamed.pop(file, None)
        self.ready.pop(file, None)
        if self._by_path.get(file.path) is file:
            del self._by_path[file.path]
