"""What S3 offers to prove an object's bytes by, and the proof.

S3 stores a checksum with every new object (CRC64NVME unless the uploader chose another) and tells it with
``x-amz-checksum-mode: ENABLED``; an ETag is the MD5 of the bytes for plain objects only.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from awscrt import checksums as crt

_MD5_ETAG = re.compile(r'"([0-9a-f]{32})"')
_PARTS = re.compile(r"-([1-9][0-9]{0,4})$")
_ETAG_OF_PARTS = re.compile(r'"([0-9a-f]{32})-([1-9][0-9]{0,4})"')
_OFFERED = ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")


class Checksum(Protocol):
    """A proof in the making. Fed the object's bytes once, in order; from one thread at a time."""

    def update(self, data: bytes) -> None:
        """Take the next bytes."""

    def mismatch(self) -> str:
        """Return what is wrong now that all bytes were taken, in words for people; empty when all agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one answer of S3 says about its bytes.

    Attributes:
        digests: of the whole body, by algorithm: ``md5``, or the lower-case end of ``x-amz-checksum-…``.
        parts: how many parts the object was uploaded in, where only a proof by part is offered (the value
            is then a hash of the parts' hashes); else None.
        md5_of_md5s: what the MD5s of the parts, one after the other, hash to; None where that is not told.
    """

    digests: Mapping[str, bytes]
    parts: int | None
    md5_of_md5s: bytes | None = None


def offered(headers: Mapping[str, str]) -> Offer:
    """Read an offer from response headers (lower-case names).

    The ETag counts as MD5 unless it is multipart, or the object is encrypted with KMS or a client's key:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    digests: dict[str, bytes] = {}
    parts: int | None = None
    md5_of_md5s: bytes | None = None
    for algorithm in _OFFERED:
        value = headers.get(f"x-amz-checksum-{algorithm}")
        if not value:
            continue
        if by_part := _PARTS.search(value):
            parts = int(by_part[1])
        else:
            digests[algorithm] = _decoded(value)
    etag = headers.get("etag", "")
    is_opaque = "kms" in headers.get("x-amz-server-side-encryption", "") or any(
        name.startswith("x-amz-server-side-encryption-customer-") for name in headers
    )
    if not is_opaque:
        if plain := _MD5_ETAG.fullmatch(etag):
            digests["md5"] = bytes.fromhex(plain[1])
        elif of_parts := _ETAG_OF_PARTS.fullmatch(etag):
            md5_of_md5s = bytes.fromhex(of_parts[1])
            parts = parts or int(of_parts[2])
    return Offer(digests=digests, parts=None if digests else parts, md5_of_md5s=md5_of_md5s)


class Whole:
    """The proof of one body by every digest that was offered; by nothing where nothing was."""

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._running = [(name, _RUNNING[name](), digest) for name, digest in digests.items()]

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        for _, running, _ in self._running:
            running.update(data)

    def mismatch(self) -> str:
        """Return what is wrong; empty when all agree."""
        for name, running, digest in self._running:
            if running.digest() != digest:
                return f"their {_NAMES[name]} is {running.digest().hex()}, S3 says {digest.hex()}"
        return ""


class ByPart:
    """The proof of an object that S3 can prove only part by part. Parts are announced as they are opened.

    Args:
        md5_of_md5s: see :class:`Offer`; also proves what was uploaded before S3 had other checksums.
    """

    def __init__(self, md5_of_md5s: bytes | None) -> None:
        self._md5_of_md5s = md5_of_md5s
        self._md5s = hashlib.md5(usedforsecurity=False)
        self._parts: deque[_Part] = deque()
        self._number = 0
        self._wrong = ""

    def begin(self, size_bytes: int, digests: Mapping[str, bytes]) -> None:
        """Announce the next part, before its bytes are handed to :meth:`update`."""
        self._number += 1
        self._parts.append(_Part(self._number, size_bytes, Whole(digests)))

    def update(self, data: bytes) -> None:
        """Take the next bytes, which may belong to several parts."""
        rest = data
        while rest:
            if not self._parts:
                self._wrong = self._wrong or "there are more of them than the parts have"
                return
            part = self._parts[0]
            rest = part.take(rest)
            if part.left_bytes == 0:
                self._end(self._parts.popleft())

    def mismatch(self) -> str:
        """Return what is wrong; empty when every part agrees."""
        if self._wrong:
            return self._wrong
        if any(part.left_bytes for part in self._parts):
            return "a part of them is missing"
        if self._md5_of_md5s not in (None, self._md5s.digest()):
            return "the MD5 of their parts' MD5s is not the ETag"
        return ""

    def _end(self, part: _Part) -> None:
        self._md5s.update(part.md5.digest())
        if why := part.proof.mismatch():
            self._wrong = self._wrong or f"in part {part.number} {why}"


class _Part:
    def __init__(self, number: int, size_bytes: int, proof: Whole) -> None:
        self.number = number
        self.left_bytes = size_bytes
        self.proof = proof
        self.md5 = hashlib.md5(usedforsecurity=False)

    def take(self, data: bytes) -> bytes:
        """Take what belongs to this part; return the rest."""
        piece = data[: self.left_bytes]
        self.proof.update(piece)
        self.md5.update(piece)
        self.left_bytes -= len(piece)
        return data[len(piece) :]


class _Running(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """A CRC of the AWS runtime with the face of a hashlib object."""

    def __init__(self, add: Callable[[bytes, int], int], size_bytes: int) -> None:
        self._add = add
        self._size_bytes = size_bytes
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._add(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size_bytes, "big")


_RUNNING: Mapping[str, Callable[[], _Running]] = {
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "crc32": lambda: _Crc(crt.crc32, 4),
    "crc32c": lambda: _Crc(crt.crc32c, 4),
    "crc64nvme": lambda: _Crc(crt.crc64nvme, 8),
}
_NAMES = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "crc32": "CRC32", "crc32c": "CRC32C"} | {
    "crc64nvme": "CRC64NVME"
}


def _decoded(value: str) -> bytes:
    """Undo base64; what is no base64 matches no bytes, so the object is refused and never trusted."""
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""
