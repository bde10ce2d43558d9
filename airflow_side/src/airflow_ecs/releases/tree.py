"""Where releases are below dags_agent's target, read and never written."""

from __future__ import annotations

import json
import re
from pathlib import Path

from airflow_ecs.releases.errors import ReleaseError

NOTE = ".release.json"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOTE_BYTES_MAX = 65_536


def current_release(target: Path) -> str:
    """Return the id that ``current`` names now; one readlink.

    Raises:
        ReleaseError: there is no such pointer, or it leads elsewhere.
    """
    pointer = target / "current"
    try:
        named = pointer.readlink()
    except FileNotFoundError as err:
        raise ReleaseError(
            f"{pointer} is not there: dags_agent has not published yet, or the volume is another one. Let"
            " this"
            " component depend on a healthy dags_agent"
        ) from err
    except OSError as err:
        raise ReleaseError(
            f"{pointer} is no symbolic link ({err.strerror}): set DAGS_AGENT_PUBLISH=release, or use"
            " Airflow's"
            " LocalDagBundle"
        ) from err
    if len(named.parts) != 2 or named.parts[0] != "releases" or not is_release_id(named.name):  # noqa: PLR2004  # releases/<id>
        raise ReleaseError(f"{pointer} points to {str(named)!r}, and not to releases/<id>: who moved it?")
    return named.name


def release_path(target: Path, release_id: str) -> Path:
    """Return the tree of a release, there or not; raises ReleaseError for what can be no release's id."""
    if not is_release_id(release_id):
        raise ReleaseError(f"{release_id!r} is no id of a release")
    return target / "releases" / release_id


def is_release_id(text: str) -> bool:
    """Whether it is one plain name."""
    return _ID.fullmatch(text) is not None


def is_whole(tree: Path, release_id: str) -> bool:
    """Whether the tree is there and is this release by its own note, which is written before it is published.

    Raises:
        OSError: the file system did not answer; nobody may conclude that it is gone.
    """
    try:
        with (tree / NOTE).open("rb") as file:
            note = json.loads(file.read(_NOTE_BYTES_MAX))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return isinstance(note, dict) and note.get("id") == release_id
