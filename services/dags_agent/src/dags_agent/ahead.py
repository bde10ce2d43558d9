"""The next release's links, made before there is a next release (docs/adr/0024).

A tree with the files of the live release lies ready where no reader looks. A publish takes it for its own and
applies what changed: as many writes as there are changes, however many files there are. What it finds there
is not believed: a file counts only when it is the very file of the live release (the same inode), so a tree
that is half made, out of date or tampered with costs links and nothing else.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from dags_agent.build import link
from dags_agent.manifest import ReleasedFile
from dags_agent.removal import remove
from dags_agent.threads import in_thread

# What FUSE says of an entry whose inode it does not know, in 32 bits and in 64; 0 is no inode anywhere.
_NO_INODE = (0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What one tree becomes.

    Attributes:
        live: the tree whose files are shared.
        tree: the one that becomes like it.
        make: makes a directory.
        take: hands a copy to its owner, where no link could be made.
        is_enough: asked between directories; once true, the rest is left.
    """

    live: Path
    tree: Path
    make: Callable[[Path], None]
    take: Callable[[Path], None]
    is_enough: Callable[[], bool] = lambda: False


async def align(
    threads: Executor, alignment: Alignment, files: Sequence[ReleasedFile], directories: Iterable[str]
) -> Mapping[str, bool]:
    """Let a tree hold these files of the live one, as hard links, these directories, and nothing else.

    Args:
        threads: where it is done, a directory at a time.
        alignment: see there.
        files: of the live tree.
        directories: that the tree has in the end, relative to it, every parent among them.

    Returns:
        By path, whether it is there now: what is no plain file in the live tree any more is not.

    Raises:
        OSError: the file system refused; the tree is somewhere between.
    """
    wanted: dict[str, list[ReleasedFile]] = {directory: [] for directory in ("", *directories)}
    below: dict[str, set[str]] = defaultdict(set)
    for file in files:
        wanted[file.path.rpartition("/")[0]].append(file)
    for directory in wanted:
        if directory:
            parent, _, name = directory.rpartition("/")
            below[parent].add(name)
    done: dict[str, bool] = {}
    turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def align_below(directory: str, *, is_there: bool) -> None:
        if alignment.is_enough():
            return
        if not is_there:
            async with turns[directory.rpartition("/")[0]]:  # see dags_agent.build.Directories
                await in_thread(threads, alignment.make, alignment.tree / directory)
        there, shared = await in_thread(
            threads, _align_one, alignment, directory, wanted[directory], below[directory], is_there
        )
        done.update(shared)
        for name in below[directory]:
            group.create_task(align_below(f"{directory}/{name}".removeprefix("/"), is_there=name in there))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(align_below("", is_there=True))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return done


def _align_one(
    alignment: Alignment, directory: str, files: Sequence[ReleasedFile], below: set[str], is_there: bool
) -> tuple[set[str], dict[str, bool]]:
    """Align one directory; return which of its subdirectories are there, and which files are."""
    live, tree = alignment.live / directory, alignment.tree / directory
    shareable = _plain_files(live)
    found, directories = _entries(tree) if is_there else ({}, set[str]())
    by_name = {file.path.rpartition("/")[2]: file for file in files}
    kept = {
        name
        for name in by_name.keys() & found.keys() & shareable.keys()
        if found[name] is not None and found[name] == shareable[name]
    }
    if kept and not _inodes_are_told(tree, found, kept):
        kept = {name for name in kept if os.path.samestat((live / name).lstat(), (tree / name).lstat())}
    for name in (found.keys() - kept) | (directories - below):
        remove(tree / name)
    done = {}
    for name, file in by_name.items():
        done[file.path] = name in shareable
        if name in shareable and name not in kept:
            new = os.path.join(tree, name)  # noqa: PTH118 - hot
            link(os.path.join(live, name), new, file, alignment.take)  # noqa: PTH118 - hot
    return directories & below, done


def _inodes_are_told(tree: Path, found: Mapping[str, int | None], kept: set[str]) -> bool:
    """Return whether a listing of a directory tells inodes that can be believed: looked at once in each."""
    told = [inode for inode in found.values() if inode is not None]
    name = min(kept)
    is_sane = len(set(told)) == len(told) and not any(inode in _NO_INODE for inode in told)
    return is_sane and (tree / name).lstat().st_ino == found[name]


def _plain_files(directory: Path) -> dict[str, int | None]:
    try:
        found, _ = _entries(directory)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {name: inode for name, inode in found.items() if inode is not None}


def _entries(directory: Path) -> tuple[dict[str, int | None], set[str]]:
    """Return what is no directory, with its inode where it is a plain file, and the directories."""
    files: dict[str, int | None] = {}
    directories = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.add(entry.name)
            else:
                files[entry.name] = entry.inode() if entry.is_file(follow_symlinks=False) else None
    return files, directories
