"""gzip, and zstd where a module for it can be imported; as streams."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable
from typing import Any, Literal, Protocol

Encoding = Literal["gzip", "zstd"]
_GZIP = 31  # zlib's wbits for a gzip header, whose time stays 0: the same bytes come out every time
_LEVEL = 6
_PROBE_BYTES = 65_536
_MIN_BYTES = 1_024
_WORTH = 0.9


class CorruptStreamError(Exception):
    """What should be compressed data is none, or its end is missing."""


class Compressor(Protocol):
    """Takes blocks, gives blocks."""

    def compress(self, data: bytes) -> bytes:
        """Return what is ready; may be empty."""

    def flush(self) -> bytes:
        """Return the rest; call it once, at the end."""


def has_zstd() -> bool:
    """Whether zstd can be used here: ``zstandard`` is importable."""
    return importlib.util.find_spec("zstandard") is not None


def choose(head: bytes, wanted: str) -> Encoding | None:
    """Return the encoding for a value that begins with ``head``; None where it would not pay.

    Args:
        head: the first 64 KiB, or all.
        wanted: ``none``, ``gzip``, ``zstd`` or ``auto``, which is zstd where it can be imported.
    """
    encoding: Encoding = "zstd" if wanted == "zstd" or (wanted == "auto" and has_zstd()) else "gzip"
    if wanted == "none" or len(head) < _MIN_BYTES:
        return None
    probe = head[:_PROBE_BYTES]
    return encoding if len(zlib.compress(probe, 1)) < _WORTH * len(probe) else None


def compressor(encoding: Encoding) -> Compressor:
    """Return a fresh one."""
    if encoding == "gzip":
        return zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    made: Compressor = _zstandard().ZstdCompressor().compressobj()
    return made


class Decompressor:
    """Undoes one stream; ``finish`` says whether it was whole."""

    def __init__(self, encoding: str) -> None:
        if encoding == "gzip":
            self._stream: Any = zlib.decompressobj(_GZIP)
        elif encoding == "zstd":
            self._stream = _zstandard().ZstdDecompressor().decompressobj()
        else:
            raise CorruptStreamError(f"its content encoding {encoding!r} is not known")
        self._error: type[Exception] = zlib.error if encoding == "gzip" else _zstandard().ZstdError

    def decompress(self, data: bytes) -> bytes:
        """Return what is ready."""
        try:
            ready: bytes = self._stream.decompress(data)
        except self._error as err:
            raise CorruptStreamError(f"it cannot be decompressed ({err})") from err
        return ready

    def finish(self) -> None:
        """Raise CorruptStreamError when the end is missing, or is not the end."""
        if not self._stream.eof or self._stream.unused_data:
            raise CorruptStreamError("its compressed data ends too early, or too late")


def _zstandard() -> Any:
    load: Callable[[str], Any] = importlib.import_module
    try:
        return load("zstandard")
    except ImportError as err:
        raise CorruptStreamError(
            "it is compressed with zstd, and zstandard is not installed here: every worker needs the same"
            " image"
        ) from err
