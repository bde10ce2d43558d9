"""Tailed files as an input: found, opened, read from where we are, given up at their end.

A file is its own spool. Nothing of it is kept in memory but the place; an unfinished line is read again
when the file has grown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from log_forwarder.airflow_path import kind_of
from log_forwarder.fingerprint import HEAD_BYTES, place_within
from log_forwarder.groomer import Groomer
from log_forwarder.inputs.base import Chunk, Kind, LineRules, Range
from log_forwarder.inputs.descriptors import close, open_same
from log_forwarder.inputs.followed import FollowedFiles
from log_forwarder.inputs.tailed import TailedFile, read
from log_forwarder.ruled import ruled
from sidecar.errors import Transient

IDLE_FLUSH_SECONDS = 5.0  # an unfinished line of a file that does not grow any more is sent as it is
_EVENT_FLUSH_SECONDS = 0.5  # whole lines that a rule holds back for more
_STATE_PAUSE_SECONDS = 1.0
_TELL_AFTER_FAILED_READS = 2


class Looking(Protocol):
    """Who tells what there is, whichever thread it works in."""

    @property
    def descriptors(self) -> Sequence[int]:
        """What to wait for."""

    def due_seconds(self) -> float:
        """Return in how many seconds to look again though nothing can be waited for."""

    def look(self) -> None:
        """Tell what is new."""

    def scan(self) -> None:
        """Tell everything there is now."""

    def close(self) -> None:
        """Look no more. Idempotent."""


class Listener(Protocol):
    """Who is told about unusual files."""

    def restarted(self, path: str, *, unread_bytes: int) -> None:
        """A file was truncated, or another one has its place; what was seen of it and not read is lost."""

    def unreadable(self, path: str, *, why: str) -> None:
        """A file is there and cannot be opened or read; it will be tried again."""

    def state_unwritable(self, error: Transient) -> None:
        """A new file could not be written down; it is read when it can be."""


class FileInput:
    """Reads what is followed. Used by one thread.

    Args:
        files: what is followed.
        finder: tells ``files`` what there is; see :class:`~log_forwarder.inputs.scout.Scout`.
        groomers: delete what was shipped.
        rules: what is done to lines, by kind of file.
        monotonic: the time, in seconds.
        listener: who is told about unusual files.
        chunk_bytes: the most to hand out at a time, and the longest line that is not split.
    """

    def __init__(
        self,
        *,
        files: FollowedFiles,
        finder: Looking,
        groomers: Sequence[Groomer],
        rules: Callable[[Kind], LineRules],
        monotonic: Callable[[], float],
        listener: Listener,
        chunk_bytes: int,
    ) -> None:
        self.files = files
        self._finder = finder
        self._groomers = groomers
        self._rules = rules
        self._monotonic = monotonic
        self._listener = listener
        self._chunk_bytes = chunk_bytes
        self._tails: dict[TailedFile, float] = {}
        self._later: dict[TailedFile, float] = {}
        self._targets: Mapping[TailedFile, int] | None = None

    @property
    def descriptors(self) -> Sequence[int]:
        """The finder's descriptor."""
        return self._finder.descriptors

    def look(self) -> None:
        """Take note of new, grown, renamed and removed files."""
        if self._targets is None:
            self._finder.look()
            for groomer in self._groomers:
                groomer.turn()
        self.files.tend()
        for file, due in list(self._later.items()):
            if due <= self._monotonic():
                del self._later[file]
                self.files.ready[file] = None

    def chunks(self) -> Iterator[Chunk]:
        """Read up to one chunk of each file that has something, then the unfinished lines that are due."""
        ready = list(self.files.ready)
        self.files.registry.enter_all(ready)
        for file in ready:
            if self._is_wanted(file):
                chunk = self._next(file, flush=False)
                if chunk is not None:
                    yield chunk
            else:
                self.files.ready.pop(file, None)
        now = self._monotonic()
        for file, due in list(self._tails.items()):
            if self._targets is not None or due <= now:
                del self._tails[file]
                chunk = self._next(file, flush=True) if self._is_wanted(file) else None
                if chunk is not None:
                    yield chunk

    def apply(self, chunk: Chunk) -> Chunk:
        """Return a chunk with the lines to send (see the protocol)."""
        return ruled(chunk, self._rules(chunk.origin.kind))

    def again(self, wanted: Range) -> Chunk | None:
        """Read a range that an earlier process read; None when the file, or the range, is not there."""
        for file in self.files:
            known = file.known
            if known is not None and known.source == wanted.source and file.offset == wanted.start:
                return self._next(file, flush=False, wanted=wanted)
        return None

    def due_seconds(self) -> float:
        """Return in how many seconds a scan, or an unfinished line, is due."""
        if self.files.ready:
            return 0.0
        due = self._finder.due_seconds()
        if moments := [*self._tails.values(), *self._later.values()]:
            due = min(due, max(0.0, min(moments) - self._monotonic()))
        return due

    def begin_to_finish(self) -> None:
        """Look once more; what the files hold now is what is left to do."""
        self._finder.scan()
        self._finder.close()
        self.files.tend()
        self._targets = {file: file.size_bytes for file in self.files}

    @property
    def is_finished(self) -> bool:
        """Whether all that was there at the last look was handed out, or cannot be read."""
        waiting = [*self.files.ready, *self._tails, *self._later]
        return not any(self._is_wanted(file) and not file.failed_reads for file in waiting)

    def lag_bytes(self) -> int:
        """Return how many bytes are in the files and not accepted yet."""
        targets = self._targets
        return sum(
            max(0, min(file.size_bytes, targets.get(file, 0) if targets else file.size_bytes) - file.accepted)
            for file in self.files
        )

    def unread_since(self) -> dict[Kind, float]:
        """Return since when the oldest byte waits that was not accepted, by kind; it may not be readable."""
        since: dict[Kind, float] = {}
        for file in self.files:
            moment = file.unaccepted_since()
            if moment is not None:
                kind = kind_of(file.path)
                since[kind] = min(moment, since.get(kind, moment))
        return since

    def close(self) -> None:
        """Close every descriptor."""
        self._finder.close()
        self.files.close()

    def _is_wanted(self, file: TailedFile) -> bool:
        """Whether it has bytes from before the last look; a busy file must not keep us for ever."""
        return self._targets is None or file.offset < self._targets.get(file, 0) or file.has_changed

    def _next(self, file: TailedFile, *, flush: bool, wanted: Range | None = None) -> Chunk | None:
        """Read the next chunk of a file; None when there is none, or when the file cannot be read now.

        One bad file (EIO, ESTALE) must not keep the others: the next scan tries it again.
        """
        self.files.hold_open(file)
        descriptor = file.descriptor
        try:
            if descriptor is None:
                descriptor = open_same(file)
            if descriptor is None:
                self.files.ready.pop(file, None)  # the next scan sees what became of its name
                return None
            chunk = self._read(file, descriptor, flush=flush, wanted=wanted)
            file.failed_reads = 0
        except OSError as err:
            self._note_failed_read(file, err)
            return None
        except Transient as err:
            self._listener.state_unwritable(err)
            self.files.ready.pop(file, None)
            self._later[file] = self._monotonic() + _STATE_PAUSE_SECONDS
            return None
        else:
            return chunk
        finally:
            if descriptor is not None and file.descriptor is None:
                file.is_proven = False
                close(descriptor)

    def _read(self, file: TailedFile, descriptor: int, *, flush: bool, wanted: Range | None) -> Chunk | None:
        status = os.fstat(descriptor)
        unread_bytes = file.unread_bytes
        file.observe_size(status.st_size, status.st_ctime_ns, self._monotonic())
        most = self._chunk_bytes if wanted is None else wanted.end - file.offset
        data = read(file, descriptor, most)
        if data is None:
            self._restart(file, unread_bytes)
            data = read(file, descriptor, self._chunk_bytes) or b""
        file.has_changed = False
        if not data:
            self.files.ready.pop(file, None)
            return None
        self.files.ready[file] = None
        if wanted is None:
            length, goes_on = self._length(file, data, flush=flush)
        else:
            length, goes_on = len(data), wanted.part > 0 and wanted.is_unfinished
        if not length:
            self._await_more(file, data)
            return None
        return self._hand_on(file, descriptor, data[:length], goes_on=goes_on)

    def _length(self, file: TailedFile, data: bytes, *, flush: bool) -> tuple[int, bool]:
        """Return how much of ``data`` to hand out, and whether its line certainly goes on behind that."""
        if file.parts_before and (length := data.find(b"\n") + 1):
            return length, False  # the line that goes on, and no further
        if not file.parts_before and (length := self._rules(kind_of(file.path)).complete(data)):
            return length, False
        if len(data) >= self._chunk_bytes:
            lines = 0 if file.parts_before else data.rfind(b"\n") + 1
            return (lines, False) if lines else (self._rules(kind_of(file.path)).part_end(data), True)
        return (data.rfind(b"\n") + 1 or len(data), False) if flush else (0, False)

    def _hand_on(self, file: TailedFile, descriptor: int, data: bytes, *, goes_on: bool) -> Chunk:
        origin = self.files.registry.enter(file, data[:HEAD_BYTES])
        start = file.offset
        part = file.parts_before + 1 if file.parts_before or goes_on else 0
        is_unfinished = goes_on or (not part and not data.endswith(b"\n"))
        place = file.hand_on(data, descriptor, is_unfinished_part=goes_on)
        self._tails.pop(file, None)
        if not file.unread_bytes:
            self.files.ready.pop(file, None)
        return Chunk(
            origin=origin,
            start=start,
            end=file.offset,
            data=data,
            position=place,
            read_at=self._monotonic(),
            part=part,
            is_unfinished=is_unfinished,
            place_at=partial(place_within, place, data),
        )

    def _await_more(self, file: TailedFile, data: bytes) -> None:
        """Leave a file until it grows, or long enough not to wait for it."""
        self.files.ready.pop(file, None)
        patience = _EVENT_FLUSH_SECONDS if data.endswith(b"\n") else IDLE_FLUSH_SECONDS
        self._tails[file] = max(file.grew_at, 0.0) + patience

    def _restart(self, file: TailedFile, unread_bytes: int) -> None:
        if file.known is not None:
            self._listener.restarted(file.path, unread_bytes=unread_bytes)
        self.files.restart(file)

    def _note_failed_read(self, file: TailedFile, err: OSError) -> None:
        """Leave a file until the next scan; one that is still named then is not just being removed."""
        self.files.open_files.close(file)
        self.files.ready.pop(file, None)
        file.failed_reads += 1
        if file.failed_reads == _TELL_AFTER_FAILED_READS:
            self._listener.unreadable(file.path, why=err.strerror or str(err))
