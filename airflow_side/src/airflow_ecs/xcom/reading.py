"""What stands between S3's bytes and a value: length and digest, the envelope, the compression. No I/O.

Nothing may be used before the last block came without an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from airflow_ecs.xcom.compression import CorruptStreamError, Decompressor
from airflow_ecs.xcom.envelope import EnvelopeError, Opener
from airflow_ecs.xcom.errors import XComObjectCorrupt
from airflow_ecs.xcom.reference import Reference

_BLOCK_BYTES = 65_536  # compressed: a bomb is noticed before it is large

_UNVERSIONED = (
    " The bucket has no versioning, so a later run of the task may have overwritten it: switch it on."
)


def checked(blocks: Iterable[bytes], reference: Reference) -> Iterator[bytes]:
    """Yield the stored bytes; raises XComObjectCorrupt at their end when they are other ones."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
        if size > reference.size:
            break
        yield block
    if size != reference.size:
        raise _corrupt(reference, f"its length is not {reference.size} bytes, as when it was written")
    if digest.hexdigest() != reference.sha256:
        raise _corrupt(reference, "its SHA-256 is not the one of when it was written")


def opened(
    blocks: Iterable[bytes], reference: Reference, unwrap: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    """Yield the value's bytes out of the stored ones; raises XComObjectCorrupt."""
    try:
        if reference.encryption == "aes-256-gcm":
            blocks = _unsealed(blocks, reference.context, unwrap)
        if reference.content_encoding is not None:
            blocks = _inflated(blocks, reference.content_encoding)
        yield from blocks
    except (EnvelopeError, CorruptStreamError) as err:
        raise _corrupt(reference, str(err)) from err


def _unsealed(
    blocks: Iterable[bytes], context: dict[str, str], unwrap: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    opener = Opener(context, unwrap)
    for block in blocks:
        yield from opener.feed(block)
    yield opener.finish()


def _inflated(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    stream = Decompressor(encoding)
    for block in blocks:
        for start in range(0, len(block), _BLOCK_BYTES):
            yield stream.decompress(block[start : start + _BLOCK_BYTES])
    stream.finish()


def _corrupt(reference: Reference, why: str) -> XComObjectCorrupt:
    hint = "" if reference.version_id else _UNVERSIONED
    return XComObjectCorrupt(
        f"{reference.where} is not what was stored: {why}.{hint} Run the task that wrote it again"
    )
