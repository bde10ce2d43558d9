"""Disks to publish onto: a local directory, and one that answers as slowly as EFS."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

READ_MICROSECONDS = 1000
WRITE_MICROSECONDS = 2700
# The attributes of an NFS client are believed this long; a pass that comes later has to ask.
ATTRIBUTES_SECONDS = 3.2
_SOURCE = Path(__file__).with_name("efs_like.c")
_MOUNT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Disk:
    """A place for targets.

    Attributes:
        name: ``local`` or ``efs``.
        root: where it is.
        attributes_seconds: how long to let pass before a second look costs what it would cost later.
    """

    name: str
    root: Path
    attributes_seconds: float = 0.0
    told: Path | None = field(default=None)

    def operations(self) -> dict[str, int]:
        """Return the round trips since the last such question; empty where they are not counted."""
        if self.told is None:
            return {}
        descriptor = os.open(self.told, os.O_RDONLY)
        lines = os.read(descriptor, 1 << 16).decode().splitlines()
        os.close(descriptor)
        return {name: int(count) for name, count in (line.split() for line in lines)}


@contextmanager
def local_disk(work: Path) -> Iterator[Disk]:
    """Use a directory of the machine's own disk."""
    root = work / "local"
    root.mkdir(parents=True)
    yield Disk("local", root)


@contextmanager
def efs_like_disk(work: Path) -> Iterator[Disk]:
    """Compile and mount the slow file system. Needs a C compiler, libfuse 3 and the right to mount.

    Raises:
        OSError, subprocess.CalledProcessError: one of these is missing.
    """
    backing, mount, program = work / "backing", work / "efs", work / "efs_like"
    backing.mkdir(parents=True)
    mount.mkdir()
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    subprocess.run(["cc", "-O2", str(_SOURCE), "-o", str(program), *flags], check=True)
    latencies = [str(READ_MICROSECONDS), str(WRITE_MICROSECONDS)]
    options = ["-f", "-o", "max_threads=128,max_idle_threads=128"]
    server = subprocess.Popen([str(program), str(backing), *latencies, str(mount), *options])
    try:
        deadline = time.monotonic() + _MOUNT_SECONDS
        while not mount.is_mount():
            if server.poll() is not None or time.monotonic() > deadline:
                raise OSError("the slow file system does not mount here")
            time.sleep(0.05)
        yield Disk("efs", mount, ATTRIBUTES_SECONDS, mount / ".operations")
    finally:
        server.terminate()
        server.wait(_MOUNT_SECONDS)
        shutil.rmtree(backing, ignore_errors=True)
