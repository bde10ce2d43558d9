"""Appended by many threads, made durable by one, read by one, deleted once accepted.

A record that was appended survives kill -9 (it is in the kernel's hands); one that is *durable* survives
a power cut too, and only that is acknowledged to a client. One ``fdatasync`` serves all that wait for it
(group commit): while it runs, the next records gather.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from log_forwarder.spool.records import HEADER, Entry, encode, next_record, wanted_bytes, whole_records
from log_forwarder.spool.segments import Segment, cut_torn_tail, list_segments, segment_path
from sidecar.files import fsync_directory

_SEGMENT_BYTES_MAX = 64 * 1024 * 1024
_SEGMENT_BYTES_MIN = 256 * 1024
_SEGMENTS_IN_BUDGET = 8  # a segment is freed as a whole, so a budget of few segments would often be full
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SpoolFull(Exception):  # noqa: N818 - a state, like queue.Full
    """There is no room now: the budget is used up, or the volume is. Retry after lines were accepted."""


class SpoolBroken(Exception):  # noqa: N818 - see SpoolFull
    """The disk refused to keep what was written (EIO). Nothing more is accepted; a restart may help."""


class Spool:
    """A log of records on disk. A position only ever grows, over restarts too.

    Args:
        directory: where the segments are; made when missing.
        budget_bytes: the most they may take.
        begin_at: where positions begin when there is no segment: never lower than one that was used before.
    """

    def __init__(self, directory: Path, *, budget_bytes: int, begin_at: int = 0) -> None:
        self._directory = directory
        self._budget_bytes = budget_bytes
        self._segment_bytes = min(
            _SEGMENT_BYTES_MAX, max(_SEGMENT_BYTES_MIN, budget_bytes // _SEGMENTS_IN_BUDGET)
        )
        directory.mkdir(parents=True, exist_ok=True)
        self._segments = list_segments(directory)
        self.cut_bytes = cut_torn_tail(self._segments[-1]) if self._segments else 0
        self._changed = threading.Condition()
        self._broken: OSError | None = None
        self._released = 0
        self._is_closed = False
        self._reading: tuple[Path, int] | None = None
        if not self._segments:
            self._segments.append(self._make_segment(begin_at))
        self._writing = os.open(self._segments[-1].path, os.O_WRONLY | os.O_APPEND)
        self._durable = self._segments[-1].end
        self._committer = threading.Thread(target=self._commit_all, name="spool-commit", daemon=True)
        self._committer.start()

    # ------------------------------------------------------------ any thread

    @property
    def start(self) -> int:
        """The oldest position that is kept."""
        return self._segments[0].start

    @property
    def end(self) -> int:
        """The position after the last record."""
        return self._segments[-1].end

    @property
    def durable(self) -> int:
        """The position before which everything survives a power cut."""
        return self._durable

    @property
    def held_bytes(self) -> int:
        """How much disk it takes."""
        return self.end - self.start

    def append(self, payload: bytes) -> int:
        """Add a record; return the position after it.

        Raises:
            SpoolFull: nothing was added; wait with :meth:`wait_for_room`, then repeat.
            SpoolBroken: nothing more can be added.
        """
        record = encode(payload)
        with self._changed:
            self._check()
            if not self._fits(len(record)):
                raise SpoolFull("the budget is used up")
            if self._segments[-1].size_bytes >= self._segment_bytes or self._is_over_budget(len(record)):
                self._begin_segment()
                self._delete_released()
            self._write(record)
            self._changed.notify_all()
            return self.end

    def wait_until_durable(self, position: int, *, timeout_seconds: float) -> bool:
        """Wait until everything before ``position`` is durable; False when it took too long.

        Raises:
            SpoolBroken: it never will be.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._durable >= position or self._broken, timeout_seconds)
            self._check()
            return self._durable >= position

    def wait_for_room(self, payload_bytes: int, *, timeout_seconds: float) -> bool:
        """Wait until a record of this size may fit (the disk itself may still be full)."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._fits(HEADER.size + payload_bytes) or self._is_closed,
                timeout_seconds,
            )

    def pause(self, seconds: float) -> None:
        """Wait a little, or until something is accepted. A full volume does not tell when there is room."""
        with self._changed:
            released = self._released
            self._changed.wait_for(lambda: self._released != released or self._is_closed, seconds)

    def release(self, position: int) -> None:
        """Delete the segments that end at or before ``position``; the last one stays."""
        with self._changed:
            self._released = max(self._released, position)
            self._delete_released()
            self._changed.notify_all()

    def close(self) -> None:
        """Make everything durable and let go. Idempotent."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        self._committer.join()
        os.close(self._writing)
        self._close_reading()

    # ------------------------------------------------------------ the reading thread

    def read(self, position: int, *, most_bytes: int, on_damage: Callable[[int], None]) -> list[Entry]:
        """Return durable records from ``position`` on: at least one if there is one, about ``most_bytes``.

        What cannot be read any more (a damaged disk) is passed over up to the next whole record, and its
        size told to ``on_damage``; it is in no other way recoverable.

        Raises:
            SpoolBroken: the disk failed; what is not read now is read after a restart.
        """
        with self._changed:
            self._check()
            durable = self._durable
            segment = next((s for s in self._segments if s.end > position), None)
        if segment is None or max(position, segment.start) >= durable:
            return []
        if position < segment.start:
            on_damage(segment.start - position)
            position = segment.start
        entries = self._read_segment(segment, position, min(durable, segment.end), most_bytes)
        if entries or durable < segment.end:
            return entries
        following = self._behind_damage(segment, position)
        on_damage(following - position)
        return self.read(following, most_bytes=most_bytes, on_damage=on_damage)

    def _read_segment(self, segment: Segment, position: int, stop: int, most_bytes: int) -> list[Entry]:
        descriptor = self._open_reading(segment.path)
        at = position - segment.start
        data = os.pread(descriptor, min(most_bytes, stop - position), at)
        if (wanted := wanted_bytes(data)) > len(data):
            data = os.pread(descriptor, min(wanted, stop - position), at)
        return list(whole_records(data, at=position))

    def _behind_damage(self, segment: Segment, position: int) -> int:
        data = os.pread(self._open_reading(segment.path), segment.end - position, position - segment.start)
        found = next_record(data)
        return segment.end if found is None else position + found

    def _open_reading(self, path: Path) -> int:
        if self._reading is None or self._reading[0] != path:
            self._close_reading()
            self._reading = (path, os.open(path, os.O_RDONLY))
        return self._reading[1]

    def _close_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    # ------------------------------------------------------------ writing, under the lock

    def _is_over_budget(self, record_bytes: int) -> bool:
        return self.held_bytes > 0 and self.held_bytes + record_bytes > self._budget_bytes

    def _fits(self, record_bytes: int) -> bool:
        """Whether a record may be added; when all is released, even one that is larger than the budget."""
        return self._released >= self.end or not self._is_over_budget(record_bytes)

    def _delete_released(self) -> None:
        while len(self._segments) > 1 and self._segments[0].end <= self._released:
            self._segments.pop(0).path.unlink(missing_ok=True)

    def _check(self) -> None:
        if self._broken is not None:
            raise SpoolBroken(f"{self._directory}: {self._broken.strerror}") from self._broken

    def _write(self, record: bytes) -> None:
        """Write all of a record or nothing of it."""
        last = self._segments[-1]
        written = 0
        try:
            while written < len(record):
                written += os.write(self._writing, memoryview(record)[written:])
        except OSError as err:
            self._take_back(last, err)
            raise SpoolFull("the volume is full") from err
        last.size_bytes += len(record)

    def _take_back(self, last: Segment, err: OSError) -> None:
        try:
            os.ftruncate(self._writing, last.size_bytes)
        except OSError as second:
            self._broken = second
        if err.errno not in _FULL:
            self._broken = err
        self._check()

    def _begin_segment(self) -> None:
        """Seal the last segment, which is durable then, and begin the next."""
        try:
            os.fsync(self._writing)
            segment = self._make_segment(self.end)
        except OSError as err:
            if err.errno in _FULL:
                raise SpoolFull("the volume is full") from err
            self._broken = err
            self._check()
            raise
        os.close(self._writing)
        self._writing = os.open(segment.path, os.O_WRONLY | os.O_APPEND)
        self._durable = self.end
        self._segments.append(segment)

    def _make_segment(self, start: int) -> Segment:
        path = segment_path(self._directory, start)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o640))
        fsync_directory(self._directory)
        return Segment(path=path, start=start, size_bytes=0)

    # ------------------------------------------------------------ the committing thread

    def _commit_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.end > self._durable or self._is_closed)
                if self._broken or (self.end <= self._durable and self._is_closed):
                    return
                position, descriptor = self.end, os.dup(self._writing)
            try:
                os.fdatasync(descriptor)
            except OSError as err:
                self._note_broken(err)
                return
            finally:
                os.close(descriptor)
            with self._changed:
                self._durable = max(self._durable, position)
                self._changed.notify_all()

    def _note_broken(self, err: OSError) -> None:
        """After a failed fsync nobody knows what is on the disk, and asking again would say "all is well"."""
        with self._changed:
            self._broken = err
            self._changed.notify_all()
