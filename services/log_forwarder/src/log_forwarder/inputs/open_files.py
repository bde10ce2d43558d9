"""Which of the followed files are held open, so that one that is removed can still be read to its end.

As many as there are descriptors for, those that something happened to last: Airflow removes a task's log
when it has uploaded it, and the last lines of a task that was silent for an hour may be written within
the second before.
"""

from __future__ import annotations

from log_forwarder.inputs.descriptors import close, open_same
from log_forwarder.inputs.tailed import TailedFile


class OpenFiles:
    """Spends a number of descriptors.

    Attributes:
        count: how many files are open.

    Args:
        most: how many files may be open at a time.
    """

    def __init__(self, *, most: int) -> None:
        self.most = most
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Whether one must be closed before another is opened."""
        return self.count >= self.most

    def open(self, file: TailedFile) -> bool:
        """Open a file and keep it open; return False when its name means another file by now.

        Raises:
            OSError: it cannot be opened now.
        """
        file.descriptor = open_same(file)
        self.count += file.descriptor is not None
        return file.descriptor is not None

    def close(self, file: TailedFile) -> None:
        """Close a file, if it is open."""
        if file.descriptor is not None:
            close(file.descriptor)
            file.descriptor = None
            file.is_proven = False
            self.count -= 1
