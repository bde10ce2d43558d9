"""Bytes of a connection -> whole frames, without looking into them. Pure.

The thread that reads a socket must do nothing slow: Docker's driver throws its queue away when a container
ends, so every microsecond that a socket is not drained can cost lines. Here msgpack only skips (more than
a gigabyte a second); what the frames say is found out later, from the spool.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgpack import (  # type: ignore[import-untyped]  # it ships no types
    ExtraData,
    OutOfData,
    StackError,
    Unpacker,
)
from msgpack.exceptions import BufferFull, FormatError  # type: ignore[import-untyped]  # the same

MAX_FRAME_BYTES = 8 * 1024 * 1024  # Fluentd's largest chunk in memory by default; Fluent Bit's are 2 MiB
_NIL = 0xC0
_FIRST_OF_A_FRAME = frozenset(
    {*range(0x92, 0x95), 0xDC, 0xDD}
)  # arrays of 2..4, however their length is spelled
_MESSAGE_ELEMENTS = (2, 3, 4)
_BROKEN: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    ExtraData,
    StackError,
    FormatError,
    BufferFull,
    RecursionError,
)


class FrameError(Exception):
    """These bytes are no Forward frames, or one is too large. The connection cannot be read any further."""


class Taken(NamedTuple):
    """What one look at the bytes gave.

    Attributes:
        frames: whole frames, one after the other; may be empty.
        messages: how many frames; a packed one holds many events.
        chunks: the ``chunk`` ids that their senders want acknowledged, in order.
    """

    frames: bytes
    messages: int
    chunks: list[object]


class Framer:
    """Finds where frames end. One per connection.

    Args:
        max_frame_bytes: a longer frame is refused.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._skipper = _unpacker(2 * max_frame_bytes)
        self._fed = 0  # position in the connection of the end of what came
        self._buffer = bytearray()  # from the start of the first frame that is not whole

    @property
    def held_bytes(self) -> int:
        """How many bytes of an unfinished frame are held. At the end of a connection they are no message."""
        return len(self._buffer)

    def take(self, data: bytes) -> Taken:
        """Add what was received; return the frames that are whole now.

        Raises:
            FrameError: garbage, or a frame beyond the limit.
        """
        begin = self._fed - len(self._buffer)
        self._buffer += data
        self._fed += len(data)
        ends = self._skip(data, begin)
        if len(self._buffer) - (ends[-1] if ends else 0) > self._max_frame_bytes:
            raise FrameError(f"a frame is longer than {self._max_frame_bytes} bytes")
        if not ends:
            return Taken(b"", 0, [])
        frames = bytes(self._buffer[: ends[-1]])
        del self._buffer[: ends[-1]]
        return Taken(frames, len(ends), _chunks(frames, ends) if b"chunk" in frames else [])

    def _skip(self, data: bytes, begin: int) -> list[int]:
        """Return where the frames in the buffer end."""
        ends: list[int] = []
        here = 0
        try:
            self._skipper.feed(data)
            while here < len(self._buffer):
                first = self._buffer[here]
                if first not in _FIRST_OF_A_FRAME and first != _NIL:
                    raise FrameError(f"a frame cannot begin with byte 0x{first:02x}")
                self._skipper.skip()
                here = self._skipper.tell() - begin
                ends.append(here)
        except OutOfData:
            pass
        except _BROKEN as err:
            raise FrameError(f"not msgpack: {err}") from err
        return ends


def _chunks(frames: bytes, ends: list[int]) -> list[object]:
    """Return the ids to acknowledge. Only an option says one; a record may have a key of that name too."""
    found: list[object] = []
    start = 0
    for end in ends:
        option = read_option(frames[start:end])
        if b"chunk" in option:
            found.append(option[b"chunk"])
        start = end
    return found


def read_option(frame: bytes) -> dict[Any, Any]:
    """Return the option of one whole frame, without unpacking the rest; empty when there is none."""
    if frame[0] == _NIL:
        return {}
    unpacker = _unpacker(len(frame))
    unpacker.feed(frame)
    try:
        elements = unpacker.read_array_header()
        if elements not in _MESSAGE_ELEMENTS:
            return {}
        unpacker.skip()
        has_time = is_time(frame[unpacker.tell()])
        before_option = 3 if has_time else 2
        if elements <= before_option:
            return {}
        for _ in range(before_option - 1):
            unpacker.skip()
        option = unpacker.unpack()
    except (*_BROKEN, OutOfData):
        return {}
    return option if isinstance(option, dict) else {}


def is_time(first_byte: int) -> bool:
    """Whether an element that begins so is a time: an integer, a float, or an extension (EventTime)."""
    return (
        first_byte <= 0x7F  # noqa: PLR2004 - the msgpack specification's numbers
        or 0xC7 <= first_byte <= 0xD8  # noqa: PLR2004 - ext, float, int
        or first_byte >= 0xE0  # noqa: PLR2004 - negative fixint
    )


def _unpacker(max_buffer_bytes: int) -> Any:
    return Unpacker(raw=True, strict_map_key=False, max_buffer_size=max_buffer_bytes)
