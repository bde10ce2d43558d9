"""Remove trees: garbage, which never stands between S3 and the readers.

On EFS a removal is a round trip per file. Trees are emptied in as many threads as there are, a directory at
a time, after a publish and not during one. Every directory is opened through no symlink, from the top: a
reader that may write into a release cannot lead a removal out of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from dags_agent.build import in_parallel
from dags_agent.threads import in_thread

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: Path) -> None:
    """Remove a tree, a file or a symlink, never what a symlink points to. Idempotent."""
    if is_real_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


async def remove_tree(threads: Executor, root: Path, *, is_enough: Callable[[], bool]) -> bool:
    """Remove a tree, a file or a symlink in parallel. Idempotent, and may be stopped at any point.

    Args:
        threads: where it is done.
        root: what to remove.
        is_enough: asked now and then; once true, the rest is left to another time.

    Returns:
        Whether it is gone.

    Raises:
        OSError: something cannot be removed; the rest may have been.
    """
    if not await in_thread(threads, is_real_directory, root):
        await in_thread(threads, lambda: root.unlink(missing_ok=True))
        return True
    levels: list[list[str]] = [["."]]
    while levels[-1]:
        if is_enough():
            return False
        below = await in_parallel(threads, partial(_empty, root), levels[-1])
        levels.append([directory for directories in below for directory in directories])
    for level in reversed(levels[1:]):
        if is_enough():
            return False
        await in_parallel(threads, partial(_remove_directory, root), level)
    await in_thread(threads, root.rmdir)
    return True


def is_real_directory(path: Path) -> bool:
    """Return whether it is a directory itself, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def _empty(root: Path, directory: str) -> list[str]:
    """Remove all but the directories in one; return these, relative to ``root``."""
    descriptor = _open(root, directory)
    try:
        with os.scandir(descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            if not is_directory:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    return [f"{directory}/{name}" for name, is_directory in found if is_directory]


def _remove_directory(root: Path, directory: str) -> None:
    parent, _, name = directory.rpartition("/")
    descriptor = _open(root, parent)
    try:
        os.rmdir(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _open(root: Path, directory: str) -> int:
    descriptor = os.open(root, _DIRECTORY)
    for name in directory.split("/"):
        try:
            below = os.open(name, _DIRECTORY, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor
