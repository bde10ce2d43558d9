"""A plain directory that others may have touched: every step into it goes through no symlink."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from dags_agent.keys import parents
from dags_agent.ownership import Owner

_BYTE_CODE = "__pycache__"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """The files below a root, by relative path."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def size_bytes(self, path: str) -> int | None:
        """Return the size of a plain file; None when there is none, or a link leads to it."""
        directory, _, name = path.rpartition("/")
        try:
            with self._opened(directory) as parent:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def blocked(self, paths: Iterable[str], ours: Collection[str]) -> dict[str, str]:
        """Return the paths where a directory lies that is to stay, each with what keeps it.

        Args:
            paths: where files are to be put.
            ours: files that go away; what else is in a directory, but byte code, is somebody else's.
        """
        needed = {parent for path in ours for parent in parents(path)} | set(ours)
        by_directory: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            by_directory[path.rpartition("/")[0]].append(path)
        found = {}
        for directory, below in by_directory.items():
            directories = {name for name, is_directory in self._names(directory) if is_directory}
            for path in below:
                if path.rpartition("/")[2] in directories and (foreign := self._foreign(path, needed)):
                    found[path] = foreign
        return found

    def _foreign(self, path: str, needed: Collection[str]) -> str | None:
        directories = [path]
        while directories:
            directory = directories.pop()
            for name, is_directory in self._names(directory):
                below = f"{directory}/{name}"
                if is_directory and name == _BYTE_CODE:
                    continue
                if below not in needed:
                    return below
                if is_directory:
                    directories.append(below)
        return None

    def _names(self, directory: str) -> list[tuple[str, bool]]:
        try:
            with self._opened(directory) as opened, os.scandir(opened) as entries:
                return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def put(self, staged: Path, path: str, *, owner: Owner | None) -> None:
        """Rename a staged file to its place; what is in the way of its directories, or of it, gives way.

        Raises:
            OSError: a directory with files that are not ours is in its place, or the file system refused.
        """
        directory, _, name = path.rpartition("/")
        if owner is not None:
            owner.take(staged)
        self._make(directory, owner)
        with self._opened(directory) as parent:
            try:
                os.rename(staged, name, dst_dir_fd=parent)
            except IsADirectoryError:
                _remove_directory(name, parent)
                os.rename(staged, name, dst_dir_fd=parent)

    def delete(self, path: str) -> None:
        """Remove a file, its byte code, and the directories that are empty then. Idempotent."""
        directory, _, name = path.rpartition("/")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            with self._opened(directory) as parent:
                os.unlink(name, dir_fd=parent)
                self._delete_byte_code(name, parent)
            while directory:
                above, _, last = directory.rpartition("/")
                with self._opened(above) as parent:
                    try:
                        _remove_directory(last, parent)
                    except OSError as err:
                        if err.errno == errno.ENOTEMPTY:
                            return
                        raise
                directory = above

    def sync(self, paths: Iterable[str]) -> None:
        """Make the names in the directories of these paths durable."""
        for directory in {path.rpartition("/")[0] for path in paths}:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                self._opened(directory) as opened,
            ):
                os.fsync(opened)

    @contextlib.contextmanager
    def _opened(self, directory: str) -> Iterator[int]:
        """Open a directory name by name. A link on the way counts as not there: NotADirectoryError."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in directory.split("/") if directory else ():
                try:
                    following = os.open(name, _DIRECTORY, dir_fd=descriptor)
                except OSError as err:
                    if err.errno == errno.ELOOP:
                        raise NotADirectoryError(err.errno, "a symlink is in the way", directory) from err
                    raise
                os.close(descriptor)
                descriptor = following
            yield descriptor
        finally:
            os.close(descriptor)

    def _make(self, directory: str, owner: Owner | None) -> None:
        """Make a directory and those above it; a file or a link in the way is removed, never followed."""
        done = ""
        for name in directory.split("/") if directory else ():
            with self._opened(done) as parent:
                with contextlib.suppress(FileNotFoundError):
                    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                        os.unlink(name, dir_fd=parent)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=parent)
                    if owner is not None:
                        os.chown(name, owner.uid, owner.gid, dir_fd=parent, follow_symlinks=False)
            done = f"{done}/{name}".lstrip("/")

    def _delete_byte_code(self, name: str, parent: int) -> None:
        """Python imports a module from byte code alone only beside it, but stale files must not pile up."""
        stem, _, suffix = name.rpartition(".")
        if suffix != "py":
            return
        with contextlib.suppress(OSError):
            cache = os.open(_BYTE_CODE, _DIRECTORY, dir_fd=parent)
            try:
                for compiled in os.listdir(cache):  # noqa: PTH208 - of a descriptor
                    if compiled.startswith(f"{stem}.") and compiled.endswith(".pyc"):
                        os.unlink(compiled, dir_fd=cache)
            finally:
                os.close(cache)


def _remove_directory(name: str, parent: int) -> None:
    """Remove a directory that holds nothing but byte code."""
    directory = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if os.listdir(directory) == [_BYTE_CODE]:  # noqa: PTH208 - of a descriptor
            shutil.rmtree(_BYTE_CODE, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=parent)
