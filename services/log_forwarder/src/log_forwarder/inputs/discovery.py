"""Which files the globs name, right now.

Not :mod:`glob`: its ``**`` follows symbolic links, and Airflow keeps ``logs/dag_processor/latest`` as a
link to a directory that is found anyway, so every line would be shipped twice.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAGIC = re.compile(r"[*?\[]")
_ANY_DEPTH = "**"

_Segment = re.Pattern[str] | None
"""Matches one name of a path; None stands for any number of directories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A regular file as one look saw it; ``changed_ns`` is its inode's change time."""

    path: str
    device: int
    inode: int
    size_bytes: int
    changed_ns: int


class Globs:
    """Absolute patterns with ``*``, ``?``, ``[…]`` within a name and ``**`` for any directories.

    Symbolic links are followed only in the part before the first wildcard, where somebody wrote them
    down; behind it they are skipped, files and directories alike. A pattern without a wildcard names one
    file, which may be a link itself: it is sighted under the name that the link leads to.

    Args:
        patterns: absolute globs.
        excluded: a directory never entered, whatever name leads there: our own state, which grows with
            everything we ship.
    """

    def __init__(self, patterns: Sequence[str], *, excluded: Path) -> None:
        self._files = [pattern for pattern in patterns if not _MAGIC.search(pattern)]
        self._patterns = [_split(pattern) for pattern in patterns if _MAGIC.search(pattern)]
        self._excluded = excluded
        self._excluded_identity: tuple[int, int] | None = None

    def scan(self) -> Iterator[Sighting]:
        """Yield each matching file once, however many patterns or hard links name it.

        A directory that vanishes or may not be read is passed over: the next scan looks again.
        """
        self._excluded_identity = _identity(self._excluded) or self._excluded_identity
        seen: set[tuple[int, int]] = set()
        for path in self._paths():
            try:
                status = os.lstat(path)
            except OSError:
                continue
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and identity not in seen:
                seen.add(identity)
                yield Sighting(
                    path=path,
                    device=status.st_dev,
                    inode=status.st_ino,
                    size_bytes=status.st_size,
                    changed_ns=status.st_ctime_ns,
                )

    def _paths(self) -> Iterator[str]:
        for name in self._files:
            path = os.path.realpath(name)
            if not self._is_excluded(Path(path).parent):
                yield path
        for root, segments in self._patterns:
            yield from self._walk(root, segments)

    def _is_excluded(self, directory: str | Path) -> bool:
        """Compare by identity: a link, a bind mount or ``/./`` are other names of the same directory."""
        identity = _identity(directory)
        return identity is not None and identity == self._excluded_identity

    def _walk(self, directory: str, segments: Sequence[_Segment]) -> Iterator[str]:
        """Yield the paths of matching files below ``directory``."""
        if self._is_excluded(directory):
            return
        if segments[0] is None and len(segments) > 1:
            yield from self._walk(directory, segments[1:])
        for entry in _entries(directory):
            if _is_directory(entry):
                below = _below(segments, entry.name)
                if below:
                    yield from self._walk(entry.path, below)
            elif len(segments) == 1 and _matches(segments[0], entry.name):  # scan() takes only regular files
                yield entry.path


def _below(segments: Sequence[_Segment], name: str) -> Sequence[_Segment]:
    """Return the segments that are left to match inside directory ``name``; none when it is not entered."""
    if not _matches(segments[0], name):
        return ()
    return segments if segments[0] is None else segments[1:]


def _matches(segment: _Segment, name: str) -> bool:
    """As a shell does: a wildcard does not match a leading dot (temporary files, NFS's .nfs… files)."""
    if segment is None:
        return not name.startswith(".")
    return segment.match(name) is not None


def _split(pattern: str) -> tuple[str, list[_Segment]]:
    """Return the literal directory a pattern begins with, and a matcher per segment after it."""
    names = [name for name in pattern.split("/") if name]
    literal = 0
    while literal < len(names) - 1 and not _MAGIC.search(names[literal]):
        literal += 1
    root = "/" + "/".join(names[:literal])
    matchers: list[_Segment] = []
    for name in names[literal:]:
        if name != _ANY_DEPTH:
            hidden = "" if name.startswith(".") else r"(?!\.)"
            matchers.append(re.compile(hidden + fnmatch.translate(name)))
        elif not matchers or matchers[-1] is not None:  # "**/**" means the same as "**"
            matchers.append(None)
    return root, matchers


def _identity(directory: str | Path) -> tuple[int, int] | None:
    """Return device and inode; None while the directory cannot be seen."""
    try:
        status = Path(directory).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Not for a link to one; nor for what cannot be seen now, where a file system does not list the type."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []
