"""The bytes of an object -> its lines, whatever they are compressed with. Pure; memory stays small."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import zstandard
from isal import isal_zlib

_GZIP_MAGIC = b"\x1f\x8b"
_OURS = b'{"_fwd":'
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP = 16 + zlib.MAX_WBITS
_ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub says instance


class DamagedObjectError(Exception):
    """The bytes end, or change, in the middle of a member."""


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of an object, without their newlines; a last one without newline too.

    Args:
        pieces: the object's bytes, in order.

    Raises:
        DamagedObjectError: what was yielded before is good.
    """
    rest = b""
    try:
        for plain in _plain(iter(pieces)):
            *whole, rest = (rest + plain).split(b"\n")
            yield from whole
    except (_ISAL_ERROR, zstandard.ZstdError) as err:
        raise DamagedObjectError(str(err)) from err
    if rest:
        yield rest
        if rest.startswith(_OURS):
            raise DamagedObjectError("it ends in the middle of a line")


def _plain(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = b""
    while len(first) < len(_ZSTD_MAGIC) and (piece := next(pieces, b"")):
        first += piece
    if first.startswith(_GZIP_MAGIC):
        return _members(first, pieces, lambda: isal_zlib.decompressobj(_GZIP))
    if first.startswith(_ZSTD_MAGIC):
        return _members(first, pieces, lambda: zstandard.ZstdDecompressor().decompressobj())
    return _chain(first, pieces)


def _chain(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


class _Member(Protocol):
    """What isal and zstandard share of zlib's interface."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, /) -> bytes:
        """Return what is in these bytes."""


def _members(first: bytes, pieces: Iterator[bytes], make: Callable[[], Any]) -> Iterator[bytes]:
    """Yield what is in each member; they follow each other without anything between them."""
    member: _Member | None = None
    data = first
    while True:
        while data:
            if member is None:
                member = make()
            yield member.decompress(data)
            data = member.unused_data
            if not member.eof:
                break
            member = None
        data = next(pieces, b"")
        if not data:
            break
    if member is not None:
        raise DamagedObjectError("it ends in the middle of a member")
