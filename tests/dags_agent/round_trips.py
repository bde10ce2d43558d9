"""Count what a pass asks of the file system below a directory, as NFS would: each call a round trip.

Every function of ``os`` (and ``io.open``) that names a path is counted when the path is below the root, and
so is the close of a file that was written: on NFS it sends the data. A descriptor's own reads and writes
are free.
"""

from __future__ import annotations

import io
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

READS = ("stat", "lstat", "readlink", "scandir", "listdir", "access", "open to read")
WRITES = (
    *("create", "close written", "mkdir", "rmdir", "link", "symlink", "rename", "replace"),
    *("unlink", "remove", "utime", "chmod", "chown", "lchown", "truncate", "fsync"),
)
_BY_DESCRIPTOR = ("utime", "chmod", "chown", "truncate", "fsync", "stat")


class RoundTrips:
    """Counts from :meth:`begin` on, in all threads."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = str(root)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._written: set[int] = set()
        names = {name for name in (*READS, *WRITES) if hasattr(os, name)}
        for name in names:
            monkeypatch.setattr(os, name, self._counting(name, getattr(os, name)))
        monkeypatch.setattr(os, "open", self._opening(os.open))
        monkeypatch.setattr(os, "close", self._closing(os.close))
        monkeypatch.setattr(io, "open", self._opening_file(io.open))

    @property
    def reads(self) -> int:
        """Round trips that change nothing."""
        return sum(self._counts[name] for name in READS)

    @property
    def writes(self) -> int:
        """Round trips that change something."""
        return sum(self._counts[name] for name in WRITES)

    def begin(self) -> None:
        """Count from here."""
        with self._lock:
            self._counts.clear()

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(self._counts.items()))

    def _is_ours(self, path: object) -> bool:
        if isinstance(path, int):
            return path in self._written
        return str(path).startswith(self._root)

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def _counting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: Any, *arguments: Any, **options: Any) -> Any:
            if self._is_ours(arguments[0] if name == "symlink" else path):
                self._count(name)
            return call(path, *arguments, **options)

        return counted

    def _opening(self, call: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            descriptor = call(path, flags, *arguments, **options)
            if self._is_ours(path):
                is_written = bool(flags & (os.O_WRONLY | os.O_RDWR))
                self._count("create" if is_written else "open to read")
                if is_written:
                    self._written.add(descriptor)
            return descriptor

        return opened

    def _closing(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def closed(descriptor: int) -> None:
            if descriptor in self._written:
                self._written.discard(descriptor)
                self._count("close written")
            call(descriptor)

        return closed

    def _opening_file(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int) and self._is_ours(path):
                is_read = mode in ("r", "rb", "rt")
                self._count("open to read" if is_read else "create")
                if not is_read:
                    self._count("close written")
            return call(path, mode, *arguments, **options)

        return opened
