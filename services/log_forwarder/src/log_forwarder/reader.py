"""The reading thread's work: files -> lines -> records -> outbox, one turn at a time.

It runs for as long as there is room behind it. While there is none it still scans, so that a file that
is written and removed during an outage is open, and can be read, when the outage is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from log_forwarder.batching import Packer
from log_forwarder.checkpoints import Known
from log_forwarder.envelope import JSON_PIECE_BYTES, RAW_PIECE_BYTES, Encode, JsonLines, raw_lines
from log_forwarder.fingerprint import Fingerprint
from log_forwarder.framing import Piece, cut, cut_tail
from log_forwarder.inputs.files import FileInput
from log_forwarder.inputs.tailed import TailedFile
from log_forwarder.outbox import Outbox

IDLE_FLUSH_SECONDS = 5.0  # an unfinished line of a file that does not grow any more is sent as it is
_SCAN_SHARE = 5  # looking for files takes at most a fifth of the time, however many there are


class Listener(Protocol):
    """Who is told what was read."""

    def read(self, *, lines: int, parts: int) -> None:
        """Lines, and parts of long ones, were handed on."""

    def ended(self, path: str, *, unread_bytes: int, was_open: bool) -> None:
        """A file is gone; with unread bytes when it could not be read to its end."""

    def looked(self, *, files: int, lag_bytes: int) -> None:
        """A scan ended."""


class Reader:
    """Reads in turns; used by one thread.

    Args:
        files: what is followed.
        outbox: where records go.
        line_format: how lines are encoded.
        ecs: metadata for the envelope.
        listener: who is told.
        monotonic: the time, in seconds.
        flush_seconds: the longest a line waits for its record to fill.
        scan_seconds: the shortest pause between scans.
    """

    def __init__(
        self,
        *,
        files: FileInput,
        outbox: Outbox,
        line_format: Literal["json", "raw"],
        ecs: Mapping[str, str],
        listener: Listener,
        monotonic: Callable[[], float],
        flush_seconds: float,
        scan_seconds: float,
    ) -> None:
        self._files = files
        self._outbox = outbox
        self._line_format = line_format
        self._limit_bytes = JSON_PIECE_BYTES if line_format == "json" else RAW_PIECE_BYTES
        self._ecs = ecs
        self._listener = listener
        self._monotonic = monotonic
        self._flush_seconds = flush_seconds
        self._scan_seconds = scan_seconds
        self._packer = Packer()
        self._filling_since = 0.0
        self._next_scan = monotonic()
        self._targets: dict[TailedFile, int] | None = None

    def turn(self) -> float:
        """Do what is due; return how many seconds may pass until the next turn."""
        now = self._monotonic()
        if now >= self._next_scan:
            self.scan()
        has_read = self._read_once()
        for file in self._files.unfinished(idle_seconds=IDLE_FLUSH_SECONDS):
            if self._outbox.has_room:
                self._flush_tail(file)
        if self._may_seal and self._monotonic() - self._filling_since >= self._flush_seconds:
            self._seal()
        if has_read and self._outbox.has_room:
            return 0.0
        due = self._next_scan
        if self._may_seal:
            due = min(due, self._filling_since + self._flush_seconds)
        return max(0.0, due - self._monotonic())

    def scan(self) -> None:
        """Look for files now."""
        started = self._monotonic()
        for ended in self._files.scan():
            self._listener.ended(ended.path, unread_bytes=ended.unread_bytes, was_open=ended.was_open)
        self._listener.looked(files=len(self._files), lag_bytes=self._files.lag_bytes())
        ended_at = self._monotonic()
        self._next_scan = ended_at + max(self._scan_seconds, (ended_at - started) * _SCAN_SHARE)

    def begin_to_finish(self) -> None:
        """Look once more; what the files hold now is what is left to do."""
        self.scan()
        self._targets = {file: file.size_bytes for file in self._files}

    def left_bytes(self) -> int:
        """Return how much of what was there at the last look is not accepted."""
        return self._files.lag_bytes(up_to=self._targets)

    def finish_step(self) -> bool:
        """Read on, without looking for more; return True once all was handed on and sealed.

        Unfinished lines are flushed. False may also mean that there is no room now.
        """
        if self._read_once():
            return False
        for file in self._files.unfinished(idle_seconds=0.0):
            if self._is_wanted(file) and self._outbox.has_room:
                self._flush_tail(file)
        if not self._outbox.has_room or any(self._is_wanted(file) for file in self._files.unread()):
            return False
        self._seal()
        return True

    @property
    def _may_seal(self) -> bool:
        return not self._packer.is_empty and self._outbox.is_idle

    def _is_wanted(self, file: TailedFile) -> bool:
        """Whether it has bytes from before :meth:`begin_to_finish`; a busy file must not keep us for ever."""
        return self._targets is None or file.offset < self._targets.get(file, 0)

    def _read_once(self) -> bool:
        """Read up to one block of each file that has something; return whether there was any."""
        has_read = False
        for file in self._files.unread():
            if not self._outbox.has_room:
                break
            if self._is_wanted(file) or file.size_bytes < file.offset:
                has_read |= self._read_block(file)
        return has_read

    def _read_block(self, file: TailedFile) -> bool:
        block = self._files.read(file)
        if block is None or file.known is None:
            return False
        encode = self._encoder(file.known)
        place = block.before
        lines = parts = 0
        last: Piece | None = None
        for piece in cut(
            block.data, start=file.offset, parts_before=file.parts_before, limit_bytes=self._limit_bytes
        ):
            place = place.after(piece)
            self._pack(encode(piece), piece, file.known.generation, place)
            last = piece
            lines += piece.is_last
            parts += piece.part > 0
            if not self._outbox.has_room:
                break
        if last is None:
            file.waits_for_growth = True
            return False
        file.hand_on(last, place)
        self._listener.read(lines=lines, parts=parts)
        return True

    def _flush_tail(self, file: TailedFile) -> None:
        block = self._files.read(file)
        data = block.data if block else b""
        if not block or file.known is None or b"\n" in data or len(data) > self._limit_bytes:
            file.waits_for_growth = False  # it has grown meanwhile: read it as usual
            return
        piece = cut_tail(data, start=file.offset, parts_before=file.parts_before)
        place = block.before.after(piece)
        self._pack(self._encoder(file.known)(piece), piece, file.known.generation, place)
        file.hand_on(piece, place)
        file.waits_for_growth = False
        self._listener.read(lines=1, parts=int(piece.part > 0))

    def _pack(self, encoded: bytes, piece: Piece, generation: int, place: Fingerprint) -> None:
        if self._packer.is_empty:
            self._filling_since = self._monotonic()
        sealed = self._packer.add(encoded, piece, generation=generation, fingerprint=place)
        if sealed is not None:
            self._outbox.put(sealed)
            self._filling_since = self._monotonic()

    def _seal(self) -> None:
        record = self._packer.seal()
        if record is not None:
            self._outbox.put(record)

    def _encoder(self, known: Known) -> Encode:
        if self._line_format == "raw":
            return raw_lines
        return JsonLines(source=known.source, path=known.path, ecs=self._ecs)
