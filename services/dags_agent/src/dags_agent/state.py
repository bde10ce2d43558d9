"""What is remembered between processes beside the releases themselves: small files, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dags_agent.layout import Layout
from sidecar.files import write_atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An operator's order to stay at a release.

    Attributes:
        release_id: the release it was placed for.
        since: when (aware, UTC); None when the file does not say.
    """

    release_id: str
    since: datetime | None


def read_superseded(layout: Layout) -> dict[str, datetime]:
    """Return when each release lost its place; empty when that is not known.

    A torn or missing file loses nothing but precision: the plan has a stand-in for each time.
    """
    try:
        document = json.loads((layout.own / "state.json").read_bytes())
        return {release: datetime.fromisoformat(at) for release, at in document["superseded"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_superseded(layout: Layout, superseded: Mapping[str, datetime]) -> None:
    """Replace what :func:`read_superseded` returns."""
    document = {"superseded": {release: at.isoformat() for release, at in sorted(superseded.items())}}
    write_atomic(layout.own / "state.json", json.dumps(document, indent=1).encode())


def read_hold(layout: Layout) -> Hold | None:
    """Return the hold in force. A file that cannot be understood still holds: somebody placed it."""
    try:
        text = (layout.own / "hold.json").read_bytes()
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        return Hold(release_id=str(document["release_id"]), since=datetime.fromisoformat(document["since"]))
    except (ValueError, KeyError, TypeError):
        return Hold(release_id="", since=None)


def place_hold(layout: Layout, release_id: str, *, since: datetime) -> None:
    """Order the agent to stay at ``release_id`` until :func:`lift_hold`. Idempotent."""
    document = {"release_id": release_id, "since": since.isoformat()}
    write_atomic(layout.own / "hold.json", json.dumps(document).encode())


def lift_hold(layout: Layout) -> bool:
    """Let the agent follow S3 again; return whether there was a hold. Idempotent."""
    try:
        (layout.own / "hold.json").unlink()
    except FileNotFoundError:
        return False
    return True
