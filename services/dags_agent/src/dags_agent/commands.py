"""What an operator does by hand: list releases, go back to one, follow S3 again."""

from __future__ import annotations

import argparse
import sys

from dags_agent.disk import damaged, observe
from dags_agent.layout import Layout
from dags_agent.manifest import Manifest, ManifestUnreadable, published_at
from dags_agent.plan import Target
from dags_agent.settings import DagsAgentSettings
from dags_agent.state import lift_hold, place_hold, read_hold, write_superseded
from sidecar.app import Runtime
from sidecar.errors import EXIT_OK, Permanent


def releases(settings: DagsAgentSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Print one line per release, newest first; the live one is marked."""
    del runtime, arguments
    layout = Layout(settings.target)
    target = observe(layout)
    hold = read_hold(layout)
    for release_id in sorted(target.releases, reverse=True):
        mark = "*" if release_id == target.live else " "
        sys.stdout.write(
            f"{mark} {release_id}  {published_at(release_id).isoformat()}  {_size(layout, release_id)}\n"
        )
    if hold is not None:
        sys.stdout.write(
            f"held at {hold.release_id or 'an unknown release'}; `dags-agent resume` follows S3 again\n"
        )
    return EXIT_OK


def rollback(settings: DagsAgentSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Serve a kept release again, and stay there until ``resume``. Repeatable.

    Raises:
        Permanent: there is no such release, or it is no longer whole; nothing was changed.
        Transient: the agent is publishing right now; a retry helps.
    """
    layout = Layout(settings.target)
    layout.prepare()
    with layout.locked():
        target = observe(layout)
        release_id = _chosen(target, arguments.release_id)
        _refuse_unless_whole(layout, release_id)
        now = runtime.clock.now()
        # The hold first: killed between the two, the agent stays where it is instead of rolling forward.
        place_hold(layout, release_id, since=now)
        if release_id != target.live:
            superseded = {id_: at for id_, at in target.superseded.items() if id_ != release_id}
            write_superseded(layout, superseded | ({target.live: now} if target.live else {}))
            layout.point_current_at(release_id)
    sys.stdout.write(f"{release_id} is live and held; `dags-agent resume` follows S3 again\n")
    return EXIT_OK


def add_rollback_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the release to go back to."""
    parser.add_argument(
        "release_id",
        nargs="?",
        metavar="ID",
        help="a release as `releases` lists it; default: the one before the live one",
    )


def resume(settings: DagsAgentSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Let the agent follow S3 again; its next pass publishes what S3 has then. Repeatable."""
    del runtime, arguments
    was_held = lift_hold(Layout(settings.target))
    sys.stdout.write("the hold is lifted\n" if was_held else "there was no hold\n")
    return EXIT_OK


def _chosen(target: Target, wanted: str | None) -> str:
    if wanted is None:
        older = [release_id for release_id in target.releases if target.live and release_id < target.live]
        if not older:
            raise Permanent("Cannot roll back", why="no release older than the live one is kept")
        return max(older)
    if wanted not in target.releases:
        raise Permanent(
            f"Cannot roll back to {wanted!r}",
            why="no such release is kept",
            remedy="`dags-agent releases` lists them",
        )
    return wanted


def _refuse_unless_whole(layout: Layout, release_id: str) -> None:
    try:
        manifest = Manifest.from_json(layout.manifest(release_id).read_bytes())
    except (FileNotFoundError, ManifestUnreadable) as err:
        raise Permanent(f"Cannot roll back to {release_id}", why=f"its manifest is unusable: {err}") from err
    missing = damaged(layout, manifest)
    if missing:
        raise Permanent(
            f"Cannot roll back to {release_id}",
            why=f"{len(missing)} of its files are not as published, for example {min(missing)!r}",
            remedy="Choose another release",
        )


def _size(layout: Layout, release_id: str) -> str:
    try:
        files = Manifest.from_json(layout.manifest(release_id).read_bytes()).files
    except (OSError, ManifestUnreadable):
        return "manifest unusable"
    return f"{len(files)} files, {sum(file.size_bytes for file in files)} bytes"
