"""Which of the followed files are held open, so that one that is removed can still be read to its end.

All of them, while there are descriptors: Airflow removes a task's log when it has uploaded it, and the
last lines of a task that was silent for an hour may be written within the second before.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Collection

from log_forwarder.inputs.descriptors import close, open_same
from log_forwarder.inputs.tailed import TailedFile

HOT_SECONDS = 60.0


class OpenFiles:
    """Spends a number of descriptors on the files that are likeliest to be written to.

    Three quarters of them at most go to cold files, which have been read and have not changed for
    ``HOT_SECONDS``; the rest is kept for files that are to come.

    Args:
        most: how many files may be open at a time.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._most_with_cold = most * 3 // 4
        self._count = 0

    def balance(
        self, files: Collection[TailedFile], now: float, *, may_close: Callable[[TailedFile], bool]
    ) -> None:
        """Open every hot file and the cold ones that changed last; close the coldest when there are too many.

        Args:
            files: all that are followed.
            now: the time, in monotonic seconds.
            may_close: whether a cold file needs its descriptor no more.
        """
        cold = []
        for file in files:
            if not _is_hot(file, now):
                cold.append(file)
            elif file.descriptor is None and file.is_named and self._count < self._most:
                self._open(file)
        excess = self._count - self._most_with_cold
        if excess > 0:
            held = (file for file in cold if file.descriptor is not None and may_close(file))
            for file in heapq.nsmallest(excess, held, key=_changed):
                self.close(file)
        elif excess < 0:
            closed = (file for file in cold if file.descriptor is None and file.is_named)
            for file in heapq.nlargest(-excess, closed, key=_changed):
                self._open(file)

    def close(self, file: TailedFile) -> None:
        """Close a file, if it is open."""
        if file.descriptor is not None:
            close(file.descriptor)
            file.descriptor = None
            file.is_proven = False
            self._count -= 1

    def _open(self, file: TailedFile) -> None:
        with contextlib.suppress(OSError):  # a read tells it, and every scan tries again
            file.descriptor = open_same(file)
        self._count += file.descriptor is not None


def _is_hot(file: TailedFile, now: float) -> bool:
    return file.unread_bytes > 0 or now - file.grew_at < HOT_SECONDS


def _changed(file: TailedFile) -> int:
    return file.changed_ns
