"""Leases that readers place on releases (docs/adr/0020): who is leased is not retired.

Readers write ``<own>/leases/<release-id>/<holder>.json``; the agent reads these, and sweeps what is stale.
Whoever runs DAG code may write there: what is no directory of a release is not entered, and what is no small
plain file is a lease that cannot be understood. Neither may stop a publish.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dags_agent.layout import Layout
from dags_agent.manifest import is_release_id

# Both are part of the protocol.
LEASE_LASTS_AT_MOST = timedelta(days=7)
UNREADABLE_LASTS = timedelta(hours=24)

_SUFFIX = ".json"
_LEASE_BYTES_MAX = 64 << 10
_SECOND_MAX = 1 << 32  # anybody may set a file's time, also to where no calendar reaches
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO must not be waited for, nor a link be followed to what never ends.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NONE_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# The file system did not answer: nobody may conclude anything about a lease.
_UNANSWERED = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A reader's claim on a release.

    Attributes:
        holder: who placed it, as the file's name says.
        until: when it ends to count (aware, UTC).
    """

    release_id: str
    holder: str
    until: datetime


def read_leases(layout: Layout, release_id: str, *, now: datetime) -> tuple[Lease, ...]:
    """Return the leases on a release that count now, by holder.

    Raises:
        OSError: the file system did not answer; nobody may conclude that there is no lease.
    """
    leases = (lease for _, _, lease in _leases(layout, release_id))
    return tuple(lease for lease in leases if lease.until > now)


def leased_releases(layout: Layout, *, now: datetime) -> frozenset[str]:
    """Return the ids of all releases with a lease that counts now; raises OSError."""
    return frozenset(
        release_id for release_id in _releases(layout) if read_leases(layout, release_id, now=now)
    )


def sweep_leases(layout: Layout, *, now: datetime) -> int:
    """Remove stale leases and empty directories; return how many leases. What cannot be removed stays."""
    removed = 0
    for release_id in _releases(layout):
        for directory, name, lease in _leases(layout, release_id):
            if lease.until <= now:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=directory)
                    removed += 1
        with contextlib.suppress(OSError):  # not empty, or made again by a reader
            (layout.leases / release_id).rmdir()
    return removed


def _read(directory: int, name: str, release_id: str) -> Lease | None:
    """Return the lease, or None when its holder has just removed it."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        text = _text(directory, name) if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError:
        return None
    written = datetime.fromtimestamp(min(status.st_mtime, _SECOND_MAX), UTC)
    try:
        expires = datetime.fromisoformat(json.loads(text)["expires_at"])
        until = min(expires.astimezone(UTC), written + LEASE_LASTS_AT_MOST)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        until = written + UNREADABLE_LASTS
    return Lease(release_id=release_id, holder=name.removesuffix(_SUFFIX), until=until)


def _text(directory: int, name: str) -> bytes:
    """Return what a lease says; nothing when it is not for us to read, or far too long for one."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as err:
        if err.errno in _UNANSWERED:
            raise
        return b""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        text = file.read(_LEASE_BYTES_MAX + 1)
    return text if len(text) <= _LEASE_BYTES_MAX else b""


def _leases(layout: Layout, release_id: str) -> Iterator[tuple[int, str, Lease]]:
    """Yield the leases on a release, each with its open directory and its name there; through no link."""
    opened: list[int] = []
    try:
        for path in (layout.leases, release_id):
            opened.append(os.open(path, _DIRECTORY, dir_fd=opened[-1] if opened else None))
        directory = opened[-1]
        for name in sorted(os.listdir(directory)):  # noqa: PTH208 - of a descriptor
            if name.endswith(_SUFFIX) and not name.startswith("."):
                lease = _read(directory, name, release_id)
                if lease is not None:
                    yield directory, name, lease
    except OSError as err:
        if err.errno not in _NONE_THERE:
            raise
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _releases(layout: Layout) -> list[str]:
    try:
        with os.scandir(layout.leases) as entries:
            return sorted(
                entry.name
                for entry in entries
                if is_release_id(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    except (FileNotFoundError, NotADirectoryError):
        return []
