"""Leases that readers place on releases (docs/adr/0020): who is leased is not retired.

Readers write ``<own>/leases/<release-id>/<holder>.json``; the agent reads these, and sweeps what is stale.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dags_agent.layout import Layout

# Both are part of the protocol.
LEASE_LASTS_AT_MOST = timedelta(days=7)
UNREADABLE_LASTS = timedelta(hours=24)


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
    leases = (_read(path, release_id) for path in _files(layout, release_id))
    return tuple(lease for lease in leases if lease is not None and lease.until > now)


def leased_releases(layout: Layout, *, now: datetime) -> frozenset[str]:
    """Return the ids of all releases with a lease that counts now; raises OSError."""
    return frozenset(
        release_id for release_id in _names(layout.leases) if read_leases(layout, release_id, now=now)
    )


def sweep_leases(layout: Layout, *, now: datetime) -> int:
    """Remove stale leases and empty directories; return how many leases. What cannot be removed stays."""
    removed = 0
    for release_id in _names(layout.leases):
        for path in _files(layout, release_id):
            lease = _read(path, release_id)
            if lease is not None and lease.until <= now:
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += 1
        with contextlib.suppress(OSError):  # not empty, or made again by a reader
            (layout.leases / release_id).rmdir()
    return removed


def _read(path: Path, release_id: str) -> Lease | None:
    """Return the lease, or None when its holder has just removed it."""
    try:
        written = datetime.fromtimestamp(path.lstat().st_mtime, UTC)
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except PermissionError:
        text = b""
    try:
        expires = datetime.fromisoformat(json.loads(text)["expires_at"])
        until = min(expires.astimezone(UTC), written + LEASE_LASTS_AT_MOST)
    except (ValueError, KeyError, TypeError, OverflowError):
        until = written + UNREADABLE_LASTS
    return Lease(release_id=release_id, holder=path.stem, until=until)


def _files(layout: Layout, release_id: str) -> list[Path]:
    directory = layout.leases / release_id
    return [directory / name for name in _names(directory) if name.endswith(".json")]


def _names(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
