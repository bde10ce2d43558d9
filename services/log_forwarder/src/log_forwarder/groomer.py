"""Deletes local log files that were shipped: Airflow never does, and 100,000 of them fill a volume.

Only a file whose every byte was accepted and written down, that has been silent for the configured time,
and that still is the file we know: by device, inode, size and change time, looked at in the moment before.
Directories that it leaves empty go too, up to the one that the globs begin with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol

from log_forwarder.checkpoints import Checkpoints
from log_forwarder.inputs.discovery import Globs, Sighting

_PERIOD_SECONDS = 600.0
_MOST_AT_ONCE = 2000  # the reading thread does this; what is left has its turn soon after


class Listener(Protocol):
    """Who is told what was deleted."""

    def groomed(self, *, files: int, deleted_bytes: int) -> None:
        """Shipped files were deleted."""


class Groomer:
    """Used by the reading thread.

    Args:
        globs: which files there are, and how far up directories may go.
        checkpoints: what of them was accepted.
        after_seconds: how long a file must have been silent; 0 for never deleting anything.
        now_ns: the time of day, to compare with files' times.
        monotonic: the time, in seconds.
        listener: who is told.
        on_delete: called for each file that was deleted.
    """

    def __init__(
        self,
        *,
        globs: Globs,
        checkpoints: Checkpoints,
        after_seconds: float,
        now_ns: Callable[[], int],
        monotonic: Callable[[], float],
        listener: Listener,
        on_delete: Callable[[Sighting], None],
    ) -> None:
        self._globs = globs
        self._checkpoints = checkpoints
        self._after_ns = int(after_seconds * 1e9)
        self._now_ns = now_ns
        self._monotonic = monotonic
        self._listener = listener
        self._on_delete = on_delete
        self._next = monotonic()
        self._walk: Iterator[Sighting] | None = None

    def turn(self) -> None:
        """Delete some of what may be deleted, when it is time."""
        if not self._after_ns or self._monotonic() < self._next:
            return
        walk = self._walk or self._globs.scan()
        self._walk = None
        files = deleted_bytes = 0
        for looked_at, sighting in enumerate(walk, start=1):
            if self._may_go(sighting) and self._delete(sighting):
                files += 1
                deleted_bytes += sighting.size_bytes
            if looked_at >= _MOST_AT_ONCE:
                self._walk = walk
                break
        if self._walk is None:
            self._next = self._monotonic() + min(_PERIOD_SECONDS, self._after_ns / 1e9)
        if files:
            self._listener.groomed(files=files, deleted_bytes=deleted_bytes)

    def _may_go(self, sighting: Sighting) -> bool:
        if self._now_ns() - sighting.changed_ns < self._after_ns:
            return False
        return any(
            (known.device, known.offset, known.changed_ns, known.parts_before)
            == (sighting.device, sighting.size_bytes, sighting.changed_ns, 0)
            for known in self._checkpoints.find(sighting.inode)[:1]
        )

    def _delete(self, sighting: Sighting) -> bool:
        """Delete the file if it still is as it was sighted, and directories that become empty."""
        if self._globs.sight(sighting.path) != sighting:
            return False
        try:
            os.unlink(sighting.path)  # noqa: PTH108 - of a string
        except OSError:
            return False
        self._on_delete(sighting)
        roots = set(self._globs.roots())
        directory = os.path.dirname(sighting.path)  # noqa: PTH120 - of a string
        while directory not in roots and len(directory) > 1:
            try:
                os.rmdir(directory)  # noqa: PTH106 - of a string
            except OSError:
                break  # not empty
            directory = os.path.dirname(directory)  # noqa: PTH120 - of a string
        return True
