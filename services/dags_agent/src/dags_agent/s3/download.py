"""One object being received, by either client: resumed when it is cut off, proven part by part if need be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from dags_agent.checksums import ByPart, Checksum, Whole, offered
from dags_agent.errors import SourceChanged
from dags_agent.listing import SourceObject
from sidecar.errors import Transient

# A big object over a bad line goes on where it stopped; after that many times it begins again.
_RESUMES = 3
_DIGITS_MAX = 19  # of any size on earth


class Body(Protocol):
    """The body of one GetObject answer."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer, lower-case names."""

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end. Raises Transient."""

    def close(self) -> None:
        """Done with it, read or not. Idempotent."""


class Get(Protocol):
    """How a client asks for an object: whole, one part of it, or the rest of it."""

    async def __call__(self, item: SourceObject, *, part: int | None = None, first_byte: int = 0) -> Body:
        """Raise as :meth:`dags_agent.source.Source.open` does."""


@asynccontextmanager
async def receive(get: Get, item: SourceObject) -> AsyncIterator[ObjectDownload]:
    """Open ``item``; raises as :meth:`dags_agent.source.Source.open`."""
    body = await _get_listed(get, item)
    try:
        offer = offered(body.headers)
        if offer.parts is None:
            download = ObjectDownload(get, item, body, Whole(offer.digests))
        else:
            body.close()
            body = await _get_listed(get, item, part=1)
            download = _by_part(get, item, body, ByPart(offer.md5_of_md5s))
    except BaseException:
        body.close()
        raise
    try:
        yield download
    finally:
        download.close()


class ObjectDownload:
    """The bytes of one object (see :class:`dags_agent.source.Download`)."""

    def __init__(
        self,
        get: Get,
        item: SourceObject,
        body: Body,
        checksum: Checksum,
        *,
        parts: ByPart | None = None,
        count: int = 1,
    ) -> None:
        self.checksum = checksum
        self.version_id: str | None = body.headers.get("x-amz-version-id")
        self._get = get
        self._item = item
        self._body = body
        self._parts = parts
        self._count = count
        self._part = 1
        self._resumes = 0
        self._received = 0

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end."""
        while True:
            try:
                piece = await self._body.read(size_bytes)
            except Transient:
                if not self._received or self._parts or self._resumes == _RESUMES:
                    raise
                await self._resume()
                continue
            self._received += len(piece)
            if piece or self._part == self._count:
                return piece
            self._part += 1
            await self._open(part=self._part)

    def close(self) -> None:
        """Done with it."""
        self._body.close()

    async def _resume(self) -> None:
        self._resumes += 1
        await self._open(first_byte=self._received)
        begins = self._body.headers.get("content-range", "")
        if not begins.startswith(f"bytes {self._received}-"):
            raise Transient(
                f"Key {self._item.key!r} was cut off",
                why="S3 does not send its rest",
                remedy="It is read again",
            )

    async def _open(self, *, part: int | None = None, first_byte: int = 0) -> None:
        self._body.close()
        self._body = await _get_listed(self._get, self._item, part=part, first_byte=first_byte)
        if self._parts is not None:
            _announce(self._parts, self._body)


async def _get_listed(get: Get, item: SourceObject, *, part: int | None = None, first_byte: int = 0) -> Body:
    """Ask, and believe the answer's own ETag only: some S3-like servers take no notice of If-Match."""
    body = await get(item, part=part, first_byte=first_byte)
    etag = body.headers.get("etag", "")
    if etag.strip('"') != item.etag.strip('"'):
        body.close()
        raise SourceChanged(
            f"Key {item.key!r} changed while it was being read",
            why=f"its ETag is {etag or 'not told'}, {item.etag} was listed",
            remedy="It is listed again",
        )
    return body


def _by_part(get: Get, item: SourceObject, body: Body, parts: ByPart) -> ObjectDownload:
    count = body.headers.get("x-amz-mp-parts-count")
    if count is None:  # not every S3-like server knows parts: its length is then all that proves it
        return ObjectDownload(get, item, body, Whole({}))
    _announce(parts, body)
    return ObjectDownload(get, item, body, parts, parts=parts, count=_number(count))


def _announce(parts: ByPart, body: Body) -> None:
    parts.begin(_number(body.headers.get("content-length", "0")), offered(body.headers).digests)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise Transient(
            "The answer makes no sense", why="a number in its head is none", remedy="It is read again"
        )
    return int(text)
