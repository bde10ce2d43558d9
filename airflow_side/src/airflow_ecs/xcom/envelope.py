"""The client-side envelope: AES-256-GCM in chunks, under a data key of KMS. No I/O.

::

    "AECX" | version 1 | algorithm 1 | chunk size, 4 bytes | length, 2 | wrapped data key | nonce prefix, 7
    then chunks of (chunk size + 16) bytes, the last one shorter or equal, never missing

Numbers are big endian. A chunk's nonce is the prefix, the chunk's number (4 bytes) and whether it is the last
(1 byte): chunks cannot be left out, moved, or cut off at the end (the STREAM construction, Hoang,
Reyhanitabar,
Rogaway, Vizar, https://eprint.iacr.org/2015/189). What is authenticated with each is the SHA-256 of the
header
and of the context as canonical JSON: the object of another DAG, run, task or key does not open.

The data key is new for every object, so a nonce can never meet its key twice.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

CHUNK_BYTES = 1_048_576
_MAX_CHUNK_BYTES = 16_777_216
_MAGIC = b"AECX"
_FIXED = struct.Struct(">4sBBIH")
_VERSION, _ALGORITHM = 1, 1
_TAG_BYTES = 16
NONCE_PREFIX_BYTES = 7
KEY_BYTES = 32


class EnvelopeError(Exception):
    """It is no envelope, or not the one that belongs here: nothing of it may be used."""


def seal(
    blocks: Iterable[bytes],
    *,
    key: bytes,
    wrapped_key: bytes,
    nonce_prefix: bytes,
    context: dict[str, str],
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[bytes]:
    """Yield the envelope of a plain text.

    Args:
        blocks: the plain text.
        key: the data key, fresh for this text, 32 bytes.
        wrapped_key: the same as KMS gave it out, encrypted.
        nonce_prefix: 7 random bytes.
        context: whose it is; it is authenticated, and not in the envelope.
        chunk_bytes: how much is sealed at once.
    """
    fixed = _FIXED.pack(_MAGIC, _VERSION, _ALGORITHM, chunk_bytes, len(wrapped_key))
    header = fixed + wrapped_key + nonce_prefix
    cipher, bound = _cipher(key), _bound(header, context)
    yield header
    number, waiting = 0, bytearray()
    for block in blocks:
        waiting += block
        while len(waiting) > chunk_bytes:  # what fills a chunk exactly may be the last
            chunk = bytes(waiting[:chunk_bytes])
            del waiting[:chunk_bytes]
            yield cipher.encrypt(_nonce(nonce_prefix, number, last=False), chunk, bound)
            number += 1
    yield cipher.encrypt(_nonce(nonce_prefix, number, last=True), bytes(waiting), bound)


class Opener:
    """Opens one envelope as it comes in: ``feed`` yields plain text that is authenticated already.

    Args:
        context: whose it has to be.
        unwrap: gives the data key for a wrapped one; may call KMS.
    """

    def __init__(self, context: dict[str, str], unwrap: Any) -> None:
        self._context = context
        self._unwrap = unwrap
        self._waiting = bytearray()
        self._cipher: Any = None
        self._bound = b""
        self._prefix = b""
        self._chunk_bytes = 0
        self._number = 0

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield what can be opened now; raises EnvelopeError."""
        self._waiting += block
        if self._cipher is None and not self._read_header():
            return
        sealed_bytes = self._chunk_bytes + _TAG_BYTES
        while len(self._waiting) > sealed_bytes:
            yield self._open(sealed_bytes, last=False)

    def finish(self) -> bytes:
        """Return the last chunk; raises EnvelopeError when it is not the last."""
        if self._cipher is None:
            raise EnvelopeError("it ends within its header")
        return self._open(len(self._waiting), last=True)

    def _open(self, sealed_bytes: int, *, last: bool) -> bytes:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # only those who encrypt pay for it

        sealed = bytes(self._waiting[:sealed_bytes])
        del self._waiting[:sealed_bytes]
        try:
            opened: bytes = self._cipher.decrypt(
                _nonce(self._prefix, self._number, last=last), sealed, self._bound
            )
        except (InvalidTag, ValueError) as err:
            raise EnvelopeError(
                "its authentication fails: it was changed, cut off, or belongs to another DAG, run, task"
                " or key"
            ) from err
        self._number += 1
        return opened

    def _read_header(self) -> bool:
        if len(self._waiting) < _FIXED.size:
            return False
        magic, version, algorithm, chunk_bytes, wrapped_bytes = _FIXED.unpack_from(self._waiting)
        if magic != _MAGIC or (version, algorithm) != (_VERSION, _ALGORITHM):
            raise EnvelopeError(f"it is no envelope of version {_VERSION}")
        if not 0 < chunk_bytes <= _MAX_CHUNK_BYTES:
            raise EnvelopeError("its chunks are of an impossible size")
        end = _FIXED.size + wrapped_bytes + NONCE_PREFIX_BYTES
        if len(self._waiting) < end:
            return False
        header = bytes(self._waiting[:end])
        del self._waiting[:end]
        wrapped = header[_FIXED.size : _FIXED.size + wrapped_bytes]
        self._prefix = header[-NONCE_PREFIX_BYTES:]
        self._chunk_bytes = chunk_bytes
        self._bound = _bound(header, self._context)
        self._cipher = _cipher(self._unwrap(wrapped))
        return True


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # as above

    if len(key) != KEY_BYTES:
        raise EnvelopeError(f"its data key has {len(key)} bytes, not {KEY_BYTES}")
    return AESGCM(key)


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + struct.pack(">IB", number, last)


def _bound(header: bytes, context: dict[str, str]) -> bytes:
    canonical = json.dumps(context, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return hashlib.sha256(header + canonical).digest()
