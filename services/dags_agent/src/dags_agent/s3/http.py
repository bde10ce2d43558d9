"""HTTP/1.1 GETs over kept connections: as much of it as S3 speaks, on asyncio's streams.

A full HTTP client costs four times the CPU of this per small object (docs/adr/0023). What is not understood
is an error, never a guess: a body ends where its framing says, or the connection is thrown away.
https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import asyncio
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial

_CRLF = b"\r\n"
_HEAD_END = b"\r\n\r\n"
# The buffer of a connection: also the most that a head, or one line of chunked framing, may be long.
_BUFFER_BYTES = 1 << 18
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[;\r \t]")
_LENGTH_DIGITS_MAX = 19
_BODILESS = (204, 304)
_INFORMATIONAL = range(100, 200)


class Broken(ConnectionError):  # noqa: N818 - what the connection is
    """The connection ended early, or what came is no HTTP answer. A new connection may help.

    Attributes:
        unanswered: not one byte of an answer came: a kept connection that the server had closed.
    """

    def __init__(self, why: str, *, unanswered: bool = False) -> None:
        super().__init__(why)
        self.unanswered = unanswered


class Answer:
    """Status, headers (lower-case names) and the body, being received. To be closed, whatever happens."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: _Body,
        give_back: Callable[[bool], None],
        *,
        silence_seconds: float,
    ) -> None:
        self.status = status
        self.headers = headers
        self._body = body
        self._give_back: Callable[[bool], None] | None = give_back
        self._silence_seconds = silence_seconds

    def close(self) -> None:
        """Give the connection back, or drop it when the body was not read to its end. Idempotent."""
        if self._give_back is not None:
            self._give_back(self._body.is_complete)
            self._give_back = None

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end.

        Raises:
            Broken: the body was cut off.
            TimeoutError: nothing came for too long.
        """
        if self._body.is_complete:
            return b""
        try:
            async with asyncio.timeout(self._silence_seconds):
                return await self._body.read(size_bytes)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError) as err:
            if isinstance(err, TimeoutError):
                raise
            raise Broken(str(err) or type(err).__name__) from err

    async def read_all(self, limit_bytes: int) -> bytes:
        """Return the whole body, which must not be longer than this; raises as :meth:`read`."""
        pieces: list[bytes] = []
        room = limit_bytes
        while piece := await self.read(_BUFFER_BYTES):
            room -= len(piece)
            if room < 0:
                raise Broken(f"the answer is longer than {limit_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)


class Connections:
    """Connections to one server, kept open between requests. Opens as many as are in use at once.

    Args:
        host, port: whom to connect to.
        tls: None for plain HTTP.
        connect_seconds: deadline of one connection attempt.
        silence_seconds: how long the server may send nothing while an answer is due.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        *,
        connect_seconds: float,
        silence_seconds: float,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._silence_seconds = silence_seconds
        self._idle: list[_Connection] = []
        self._closed = False
        self.opened = 0

    async def close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def get(self, head: bytes) -> Answer:
        """Send one request, its head with the empty line at the end, and return what is answered.

        Raises:
            Broken: see there.
            OSError: no connection; a retry may help. ssl.SSLCertVerificationError: it will not.
            TimeoutError: a deadline passed.
        """
        while True:
            connection, is_reused = self._pop_idle(), True
            if connection is None:
                connection, is_reused = await self._open(), False
            try:
                status, headers, body = await connection.exchange(head, self._silence_seconds)
            except Broken as err:
                connection.abort()
                if not (is_reused and err.unanswered):
                    raise
            except BaseException:
                connection.abort()
                raise
            else:
                give_back = partial(self._take_back, connection)
                return Answer(status, headers, body, give_back, silence_seconds=self._silence_seconds)

    def _take_back(self, connection: _Connection, is_read_to_its_end: bool) -> None:
        if is_read_to_its_end and connection.may_be_kept and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()

    def _pop_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.abort()
        return None

    async def _open(self) -> _Connection:
        async with asyncio.timeout(self._connect_seconds):
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._tls, limit=_BUFFER_BYTES
            )
        self.opened += 1
        return _Connection(reader, writer)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.may_be_kept = True

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as far as is known here."""
        return not (self._reader.at_eof() or self._reader.exception() or self._writer.is_closing())

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return

    async def exchange(self, head: bytes, silence_seconds: float) -> tuple[int, Mapping[str, str], _Body]:
        try:
            async with asyncio.timeout(silence_seconds):
                self._writer.write(head)
                status, headers = await self._read_head()
                while status in _INFORMATIONAL:
                    status, headers = await self._read_head()
        except asyncio.IncompleteReadError as err:
            raise Broken("the server closed the connection", unanswered=not err.partial) from err
        except (ConnectionResetError, BrokenPipeError) as err:
            raise Broken(str(err), unanswered=True) from err
        except (asyncio.LimitOverrunError, ValueError) as err:
            raise Broken(f"the head of its answer makes no sense ({type(err).__name__})") from err
        self.may_be_kept = headers.get("connection", "").lower() != "close"
        body = _body(self._reader, status, headers)
        if isinstance(body, _UntilClose):
            self.may_be_kept = False
        return status, headers, body

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        text = (await self._reader.readuntil(_HEAD_END)).decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        version, status, *_ = first.split(" ", 2)
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise ValueError(version)
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError("a header line without a colon")
            headers[name.lower()] = value.strip()
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        return int(status), headers


class _Body(ABC):
    """How the end of a body is known."""

    is_complete = False

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @abstractmethod
    async def read(self, size_bytes: int) -> bytes:
        """Return up to so many bytes; none at the end."""


class _Sized(_Body):
    def __init__(self, reader: asyncio.StreamReader, length_bytes: int) -> None:
        super().__init__(reader)
        self._left = length_bytes
        self.is_complete = length_bytes == 0

    async def read(self, size_bytes: int) -> bytes:
        piece = await self._reader.read(min(size_bytes, self._left))
        if not piece:
            raise asyncio.IncompleteReadError(b"", self._left)
        self._left -= len(piece)
        self.is_complete = self._left == 0
        return piece


class _Chunked(_Body):
    _left = 0

    async def read(self, size_bytes: int) -> bytes:
        if self._left == 0:
            line = await self._reader.readuntil(_CRLF)
            size = _CHUNK_SIZE.match(line)
            if size is None:
                raise ValueError("a chunk without a size")
            self._left = int(size[1], 16)
            if self._left == 0:
                while await self._reader.readuntil(_CRLF) != _CRLF:
                    pass
                self.is_complete = True
                return b""
        piece = await self._reader.read(min(size_bytes, self._left))
        if not piece:
            raise asyncio.IncompleteReadError(b"", self._left)
        self._left -= len(piece)
        if self._left == 0 and await self._reader.readexactly(2) != _CRLF:
            raise ValueError("a chunk is longer than it says")
        return piece


class _UntilClose(_Body):
    async def read(self, size_bytes: int) -> bytes:
        piece = await self._reader.read(size_bytes)
        self.is_complete = not piece
        return piece


def _body(reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> _Body:
    if status in _BODILESS:
        return _Sized(reader, 0)
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise Broken("the answer comes in an unknown transfer encoding")
        return _Chunked(reader)
    if "content-length" in headers:
        length = headers["content-length"]
        if not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS_MAX):
            raise Broken("the answer has no sensible Content-Length")
        return _Sized(reader, int(length))
    return _UntilClose(reader)
