"""Directories and hard links of a release being built, a round trip to EFS at a time in many threads.

A file system call on NFS holds the lock of its directory, so directories are what can be worked on at once:
measured, one directory takes 185 files a second whatever the threads, 64 take 3,600 (docs/adr/0024).
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from dags_agent.manifest import ReleasedFile
from dags_agent.threads import in_thread

Item = TypeVar("Item")
Result = TypeVar("Result")

# EFS allows 177 hard links per file; it says so with the first of these, and a copy begins to count anew.
# https://docs.aws.amazon.com/efs/latest/ug/limits.html
_CANNOT_LINK = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)


async def in_parallel(
    threads: Executor, act: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """Return what ``act`` returns for each item, in their order, from as many threads as there are.

    Raises:
        OSError: the first failure; calls that had begun have ended.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(in_thread(threads, act, item)) for item in items]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


class Directories:
    """The directories of a tree, made while files are already put into those that are there.

    Those in one directory are made one after the other, whatever the threads: 200 take three quarters of a
    second on EFS, which nothing needs to wait for.

    Args:
        make: makes one.
        tree: the top, which is there.
        names: relative to it, every parent among them.
    """

    def __init__(
        self, threads: Executor, make: Callable[[Path], None], tree: Path, names: Sequence[str]
    ) -> None:
        self._threads = threads
        self._make = make
        self._tree = tree
        self._names = names
        self._made: dict[str, asyncio.Event] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Begin to make them all; a failure is the group's."""
        self._made = {name: asyncio.Event() for name in self._names}
        for name in self._names:
            group.create_task(self._make_one(name))

    async def ready(self, name: str) -> None:
        """Return when this one is there; when it cannot be made, the group ends who waits."""
        if name in self._made:
            await self._made[name].wait()

    async def _make_one(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        await self.ready(parent)
        async with self._turns[parent]:  # or threads would queue for the parent, and none be left for files
            await in_thread(self._threads, self._make, self._tree / name)
        self._made[name].set()


async def share(
    threads: Executor,
    old: Path,
    new: Path,
    files: Sequence[ReleasedFile],
    directories: Directories,
    *,
    take: Callable[[Path], None],
) -> Mapping[str, bool]:
    """Give the tree ``new`` the files of ``old``, by hard links where that can be.

    Args:
        threads: where the links are made.
        old: whose files they are.
        new: the tree being built.
        files: of ``old``.
        directories: of ``new``; made meanwhile.
        take: hands a copy to its owner; a link has it already.

    Returns:
        By path, whether it is there now: what is no plain file in ``old`` any more is not.
    """
    by_directory: dict[str, list[ReleasedFile]] = defaultdict(list)
    for file in files:
        by_directory[file.path.rpartition("/")[0]].append(file)

    def share_directory(directory: str) -> dict[str, bool]:
        plain = _plain_files(old / directory)
        done = {}
        for file in by_directory[directory]:
            name = file.path.rpartition("/")[2]
            done[file.path] = name in plain
            if name in plain:
                link(os.path.join(old, file.path), os.path.join(new, file.path), file, take)  # noqa: PTH118 - hot
        return done

    shared: dict[str, bool] = {}

    async def share_when_ready(directory: str) -> None:
        await directories.ready(directory)
        shared.update(await in_thread(threads, share_directory, directory))

    try:
        async with asyncio.TaskGroup() as group:
            directories.begin(group)
            for directory in by_directory:
                group.create_task(share_when_ready(directory))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return shared


def _plain_files(directory: Path) -> set[str]:
    """Return the names of the plain files; one round trip, where a look at each would be one per file."""
    try:
        with os.scandir(directory) as entries:
            return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def link(old: str, new: str, file: ReleasedFile, take: Callable[[Path], None]) -> None:
    """Give a file a second name; a copy, handed to its owner, where no link is left. Raises OSError."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as err:
        if err.errno not in _CANNOT_LINK:
            raise
    else:
        return
    shutil.copyfile(old, new, follow_symlinks=False)
    os.utime(new, (file.mtime_seconds, file.mtime_seconds), follow_symlinks=False)
    take(Path(new))
