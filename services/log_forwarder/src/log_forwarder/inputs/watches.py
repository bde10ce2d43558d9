"""Which directories are watched, by the number the kernel gave: compact, for there may be 100,000.

A directory is its parent's watch and its own name, twelve bytes and a shared string each; names such as
``task_id=load`` repeat.
"""

from __future__ import annotations

import os
import sys
from array import array

_ROOT = -1
_UNKNOWN = -2


class Watches:
    """Directories by watch. Watches are numbered from 1 and never given twice by one inotify."""

    def __init__(self) -> None:
        self._parents = array("i")
        self._names: list[str | None] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_sparse(self) -> bool:
        """Whether most of the numbers are of directories long gone, so that one should begin anew."""
        return len(self._names) > 100_000 and len(self._names) > 4 * self._count  # noqa: PLR2004 - 1.2 MB of nothing

    def put(self, watch: int, directory: str, *, parent: int | None) -> None:
        """Take note of a directory, or of its new name.

        Args:
            watch: its number.
            directory: its path.
            parent: the watch of the directory it is in; None when that is not watched.
        """
        if watch >= len(self._names):
            missing = watch + 1 - len(self._names)
            self._parents.extend([_UNKNOWN] * missing)
            self._names.extend([None] * missing)
        if self._names[watch] is None:
            self._count += 1
        self._parents[watch] = _ROOT if parent is None else parent
        self._names[watch] = directory if parent is None else sys.intern(os.path.basename(directory))  # noqa: PTH119 - a Path costs ten times as much

    def path(self, watch: int) -> str | None:
        """Return a directory's path; None when it, or one it is in, is not watched any more."""
        names: list[str] = []
        while watch != _ROOT:
            name = self._names[watch] if 0 <= watch < len(self._names) else None
            if name is None:
                return None
            names.append(name)
            watch = self._parents[watch]
        return "/".join(reversed(names))

    def drop(self, watch: int) -> None:
        """Forget a directory."""
        if 0 <= watch < len(self._names) and self._names[watch] is not None:
            self._names[watch] = None
            self._parents[watch] = _UNKNOWN
            self._count -= 1
