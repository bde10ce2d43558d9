"""What the checkpoints know of files that are met, and the entering of new ones, many at a time.

One commit for each file of a burst would make the disk the measure of how fast files are noticed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping

from log_forwarder.airflow_path import identify, kind_of
from log_forwarder.checkpoints import Checkpoints, FileOrigin, Known, Newcomer
from log_forwarder.envelope import printable
from log_forwarder.fingerprint import HEAD_BYTES
from log_forwarder.inputs.tailed import TailedFile
from sidecar.errors import Transient

_MOST_AT_ONCE = 512


class Registry:
    """Connects followed files with their rows. Used by one thread.

    Args:
        checkpoints: the rows.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._over: list[int] = []

    def known(self, file: TailedFile) -> Known | None:
        """Return what is known of a file, if it was read before.

        Whether it really is the same is seen in its content, before the first read.
        """
        for known in self._checkpoints.find(file.inode):
            # Device numbers change when a volume is mounted again: then the path vouches for the inode.
            if known.device == file.device or known.path == file.path:
                return known
        return None

    def enter(self, file: TailedFile, head: bytes) -> FileOrigin:
        """Give a file that has no generation one.

        Raises:
            Transient: it cannot be written down now.
        """
        if file.origin is None:
            newcomer = Newcomer(file.path, file.device, file.inode, head)
            (known,) = self._checkpoints.register([newcomer])
            file.known, file.origin = known, self.origin(known)
        return file.origin

    def enter_all(self, files: Iterable[TailedFile]) -> None:
        """Give those of these that are open, begin with a line and have no generation one, in one commit.

        What fails here is tried again, and told, when the file itself is read.
        """
        newcomers: dict[TailedFile, Newcomer] = {}
        for file in files:
            if file.known is None and file.descriptor is not None and not file.offset:
                with contextlib.suppress(OSError):
                    head = os.pread(file.descriptor, HEAD_BYTES, 0)
                    if b"\n" in head:
                        newcomers[file] = Newcomer(file.path, file.device, file.inode, head)
            if len(newcomers) == _MOST_AT_ONCE:
                break
        if len(newcomers) < 2:  # noqa: PLR2004 - one alone needs no batch
            return
        with contextlib.suppress(Transient):
            rows = self._checkpoints.register(list(newcomers.values()))
            for file, known in zip(newcomers, rows, strict=True):
                file.known, file.origin = known, self.origin(known)

    def origin(self, known: Known) -> FileOrigin:
        """Return a known file as an origin of chunks."""
        about: Mapping[str, object] = identify(printable(known.path))
        return FileOrigin(known=known, kind=kind_of(known.path), keeper=self._checkpoints, about=about)

    def is_over(self, file: TailedFile) -> None:
        """This life of a file certainly is over: its row goes at the next :meth:`forget`."""
        if file.known is not None:
            self._over.append(file.known.generation)

    def forget(self) -> None:
        """Drop the rows of what is over. When it fails it is done the next time; an old row harms nobody."""
        if self._over:
            with contextlib.suppress(Transient):
                self._checkpoints.forget(self._over)
                self._over = []

    def purge(self, is_there: Callable[[int], bool]) -> None:
        """Drop the rows of files that have been gone for days; when it fails, the next time."""
        with contextlib.suppress(Transient):
            self._checkpoints.purge(is_there=is_there)
