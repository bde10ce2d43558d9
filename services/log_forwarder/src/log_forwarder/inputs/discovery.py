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
    down; behind it they are skipped, files and directories alike.

    Args:
        patterns: absolute globs.
        excluded: a directory never entered: our own state, which grows with everything we ship.
    """

    def __init__(self, patterns: Sequence[str], *, excluded: Path) -> None:
        self._patterns = [_split(pattern) for pattern in patterns]
        self._excluded = str(excluded)

    def scan(self) -> Iterator[Sighting]:
        """Yield each matching file once, however many patterns or hard links name it.

        A directory that vanishes or may not be read is passed over: the next scan looks again.
        """
        seen: set[tuple[int, int]] = set()
        for root, segments in self._patterns:
            for path in self._walk(root, segments):
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

    def _walk(self, directory: str, segments: Sequence[_Segment]) -> Iterator[str]:
        """Yield the paths of matching files below ``directory``."""
        if directory == self._excluded:
            return
        if segments[0] is None and len(segments) > 1:
            yield from self._walk(directory, segments[1:])
        for entry in _entries(directory):
            if entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                below = _below(segments, entry.name)
                if below:
                    yield from self._walk(entry.path, below)
            elif len(segments) == 1 and _matches(segments[0], entry.name):
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


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []
