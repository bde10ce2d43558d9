"""Look at the target: what is live, what is kept, what a killed run left. Changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from dags_agent.layout import LINK_PREFIX, Layout
from dags_agent.manifest import Manifest, ManifestUnreadable, ReleasedFile, is_release_id
from dags_agent.note import NAME as NOTE
from dags_agent.state import read_superseded
from dags_agent.steps import Leftover, Place
from dags_agent.target import Target
from sidecar.files import TEMPORARY

_NONE: frozenset[str] = frozenset()
_BYTE_CODE = "__pycache__"  # readers with a writable mount leave it in the live release


def observe(layout: Layout, *, trusted: str | None = None) -> Target:
    """Return what is on disk; the live release and newer ones are compared with their manifests.

    By names and sizes, one stat per file of these: for the start of a process.

    Args:
        layout: where to look.
        trusted: a release that this process published or compared itself, which is not walked again: on EFS
            that would be a millisecond per file for every publish.

    Raises:
        ConfigError: ``current`` is not ours.
        OSError: the file system did not answer.
    """
    live = layout.live()
    manifest = read_manifest(layout, live) if live else None
    releases = {
        name: _fingerprint(layout, name) if live is None or name > live else None
        for name in _names(layout.releases)
        if is_release_id(name)
    }
    is_looked_at = manifest is not None and live != trusted
    damage, foreign = difference(layout, manifest) if manifest and is_looked_at else (_NONE, _NONE)
    return Target(
        live=live,
        manifest=manifest,
        former=read_manifest(layout, max(releases)) if live is None and releases else None,
        damaged=damage,
        foreign=foreign,
        releases=releases,
        superseded=read_superseded(layout),
        leftovers=tuple(_leftovers(layout, set(releases), live)),
    )


def read_manifest_file(path: Path) -> Manifest:
    """Return the manifest in a file.

    Raises:
        ManifestUnreadable: it is torn, edited by hand, or of another format.
        OSError: it is not there, or the file system did not answer.
    """
    with path.open("rb") as lines:
        return Manifest.from_lines(lines)


def read_manifest(layout: Layout, release_id: str) -> Manifest:
    """Return a release's manifest; where it is lost, one made from the tree with every ETag unknown.

    So a lost manifest means that all is fetched again, and the guards against deletion still count.
    """
    try:
        return read_manifest_file(layout.manifest(release_id))
    except (FileNotFoundError, ManifestUnreadable):
        files = sorted(_regular_files(layout.release(release_id)))
        return Manifest(
            release_id=release_id,
            source="",
            files=tuple(
                ReleasedFile(
                    key=path,
                    path_begins=0,
                    size_bytes=found.st_size,
                    etag="",
                    version_id=None,
                    last_modified=datetime.fromtimestamp(0, UTC),
                    sha256="",
                    mtime_seconds=int(found.st_mtime),
                )
                for path, found in files
            ),
        )


def damaged(layout: Layout, manifest: Manifest) -> frozenset[str]:
    """Return the paths whose file is absent, no plain file, or of another size than the manifest says."""
    return difference(layout, manifest)[0]


def difference(layout: Layout, manifest: Manifest) -> tuple[frozenset[str], frozenset[str]]:
    """Return what :func:`damaged` does, and what lies in the release and was never published there."""
    missing = set(manifest.by_path)
    directories = manifest.directories
    foreign = set()
    for path, entry in _entries(layout.release(manifest.release_id)):
        file = manifest.by_path.get(path)
        if entry.is_dir(follow_symlinks=False):
            if path not in directories:
                foreign.add(path)
        elif file is not None:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_size == file.size_bytes:
                missing.discard(path)
        elif path != NOTE:
            foreign.add(path)
    return frozenset(missing), frozenset(foreign)


def foreign_paths(root: Path, manifest: Manifest) -> frozenset[str]:
    """Return what lies in a tree and was not published there, planted links too; byte code is not counted."""
    files, directories = manifest.by_path, manifest.directories
    return frozenset(
        path
        for path, entry in _entries(root)
        if path not in (directories if entry.is_dir(follow_symlinks=False) else files) and path != NOTE
    )


def _fingerprint(layout: Layout, release_id: str) -> str | None:
    """Return what a release is known to hold; None when its tree is not what its manifest says."""
    try:
        manifest = read_manifest_file(layout.manifest(release_id))
    except (OSError, ManifestUnreadable):
        return None
    return None if damaged(layout, manifest) else manifest.fingerprint


def _leftovers(layout: Layout, releases: set[str], live: str | None) -> Iterator[Leftover]:
    for place, directory in ((Place.BUILDING, layout.building), (Place.TRASH, layout.trash)):
        yield from (Leftover(place=place, name=name) for name in _names(directory))
    yield from (Leftover(place=Place.AHEAD, name=name) for name in _names(layout.ahead) if name != live)
    for name in _names(layout.own):
        if name.startswith((LINK_PREFIX, TEMPORARY)):
            yield Leftover(place=Place.OWN, name=name)
    for name in _names(layout.releases):
        stem = name.removesuffix(".json")
        is_orphan = stem != name and is_release_id(stem) and stem not in releases
        if is_orphan or name.startswith(TEMPORARY):
            yield Leftover(place=Place.RELEASES, name=name)


def _names(directory: Path) -> list[str]:
    """Return the sorted names in a directory; none when it is not there yet."""
    try:
        return sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []


def _regular_files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the relative path and status of each plain file below ``root``, through no symlink."""
    for path, entry in _entries(root):
        if not entry.is_dir(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and path != NOTE:
                yield path, status


def _entries(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Walk below ``root`` through no symlink; byte code is passed over."""
    directories = [""]
    while directories:
        directory = directories.pop()
        try:
            entries = list(os.scandir(root / directory))
        except FileNotFoundError:
            continue
        for entry in entries:
            path = f"{directory}/{entry.name}".removeprefix("/")
            if entry.is_dir(follow_symlinks=False):
                if entry.name == _BYTE_CODE:
                    continue
                directories.append(path)
            yield path, entry
