"""Which files the globs name, right now.

Not :mod:`glob`: its ``**`` follows symbolic links, and Airflow keeps ``logs/dag_processor/latest`` as a
link to a directory that is found anyway, so every line would be shipped twice.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from log_forwarder.inputs.descriptors import close, open_quietly
from log_forwarder.inputs.globs import Pattern, is_literal


class Sighting(NamedTuple):
    """A regular file as one look saw it; ``changed_ns`` is its inode's change time."""

    path: str
    device: int
    inode: int
    size_bytes: int
    changed_ns: int
    links: int


class Globs:
    """Absolute patterns with ``*``, ``?``, ``[…]`` within a name and ``**`` for any directories.

    Symbolic links are followed only in the part before the first wildcard, where somebody wrote them
    down; behind it they are skipped, files and directories alike. A pattern without a wildcard names one
    file, which may be a link itself: it is sighted under the name that the link leads to.

    Args:
        patterns: absolute globs.
        excluded: a directory never entered, whatever name leads there: our own state, which grows with
            everything we ship.
        without: absolute globs of files that are not wanted.
    """

    def __init__(self, patterns: Sequence[str], *, excluded: Path, without: Sequence[str] = ()) -> None:
        self._files = [pattern for pattern in patterns if is_literal(pattern)]
        self._patterns = [Pattern(pattern) for pattern in patterns if not is_literal(pattern)]
        self._without = [Pattern(pattern) for pattern in without]
        self._excluded = excluded
        self._excluded_identity: tuple[int, int] | None = None

    def roots(self) -> list[str]:
        """Return the directories that walks begin with; one inside another is left out."""
        self._excluded_identity = _identity(self._excluded) or self._excluded_identity
        named = {pattern.root for pattern in self._patterns}
        named |= {os.path.dirname(path) for path in self._named_files()}  # noqa: PTH120 - of a string
        return [root for root in sorted(named) if not any(_is_inside(root, other) for other in named)]

    def names(self, path: str) -> bool:
        """Say whether a file of this path is wanted."""
        wanted = any(pattern.matches(path) for pattern in self._patterns) or path in self._named_files()
        return wanted and not any(pattern.matches(path) for pattern in self._without)

    def leads_to(self, directory: str) -> bool:
        """Say whether files that are wanted may be in, or below, this directory; never for our own state."""
        may_hold = any(pattern.leads_through(directory) for pattern in self._patterns)
        may_hold = may_hold or any(_is_inside(path, directory) for path in self._named_files())
        return may_hold and not self._is_excluded(directory)

    def sight(self, path: str) -> Sighting | None:
        """Look at one path; None when it is no regular file, or is not to be seen."""
        try:
            status = os.lstat(path)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return Sighting(
            path, status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_nlink
        )

    def scan(self) -> Iterator[Sighting]:
        """Yield each matching file once, however many patterns or hard links name it.

        A directory that vanishes or may not be read is passed over: the next scan looks again.
        """
        linked: set[tuple[int, int]] = set()
        for root in self.roots():
            for found in self.walk(root):
                if not isinstance(found, Sighting):
                    continue
                if found.links > 1:
                    if (found.device, found.inode) in linked:
                        continue
                    linked.add((found.device, found.inode))
                yield found

    def walk(self, directory: str) -> Iterator[Sighting | str]:
        """Yield the directories at and below one (as text, before what is in them) and the files wanted."""
        if not self.leads_to(directory):
            return
        yield directory
        above = directory.rstrip("/")
        for name, is_directory in _entries(directory):
            path = f"{above}/{name}"
            if is_directory:
                yield from self.walk(path)
            elif self.names(path) and (sighting := self.sight(path)) is not None:
                yield sighting

    def _named_files(self) -> list[str]:
        return [os.path.realpath(name) for name in self._files]

    def _is_excluded(self, directory: str) -> bool:
        """Compare by identity: a link, a bind mount or ``/./`` are other names of the same directory."""
        identity = _identity(directory)
        return identity is not None and identity == self._excluded_identity


def _is_inside(path: str, directory: str) -> bool:
    return path != directory and path.startswith(directory.rstrip("/") + "/")


def _identity(directory: str | Path) -> tuple[int, int] | None:
    """Return device and inode; None while the directory cannot be seen."""
    try:
        status = os.stat(directory)  # noqa: PTH116 - a Path for each of 100,000 directories costs a second
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Not for a link to one; nor for what cannot be seen now, where a file system does not list the type."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _entries(directory: str) -> list[tuple[str, bool]]:
    """Return names, and which are directories."""
    try:
        descriptor = open_quietly(directory, os.O_DIRECTORY)
    except OSError:
        return []
    try:
        with os.scandir(descriptor) as entries:
            return [(entry.name, _is_directory(entry)) for entry in entries]
    except OSError:
        return []
    finally:
        close(descriptor)
