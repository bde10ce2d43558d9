"""What an operator does by hand: list releases, go back to one, follow S3 again."""

from __future__ import annotations

import argparse
import sys

from dags_agent.disk import observe, read_manifest, read_manifest_file
from dags_agent.errors import Fenced
from dags_agent.layout import Layout
from dags_agent.leases import read_leases
from dags_agent.manifest import Manifest, ManifestUnreadable, is_release_id, published_at
from dags_agent.settings import DagsAgentSettings
from dags_agent.state import Hold, lift_hold, place_hold, read_hold, write_superseded
from dags_agent.target import Target
from dags_agent.verify import Verifier
from dags_agent.writer import Fence, WriterLease, held_in_thread
from sidecar.app import Runtime
from sidecar.errors import EXIT_CRASH, EXIT_OK, ConfigError, Permanent


def releases(settings: DagsAgentSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Print one line per release, newest first; the live one is marked."""
    del arguments
    layout = _release_layout(settings)
    target = observe(layout)
    hold = read_hold(layout)
    for release_id in sorted(target.releases, reverse=True):
        mark = "*" if release_id == target.live else " "
        sys.stdout.write(
            f"{mark} {release_id}  {published_at(release_id).isoformat()}  {_size(layout, release_id)}"
            f"{_holders(layout, release_id, runtime)}\n"
        )
    if hold is not None:
        sys.stdout.write(
            f"held at {hold.release_id or 'an unknown release'}; `dags-agent resume` follows S3 again\n"
        )
    return EXIT_OK


def diff(settings: DagsAgentSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Print how release B differs from release A: ``+`` added, ``-`` deleted, ``~`` changed, by path.

    Raises:
        Permanent: there is no such release.
    """
    del runtime
    layout = _release_layout(settings)
    old, new = (_manifest(layout, wanted) for wanted in (arguments.old, arguments.new))
    before, after = old.by_path, new.by_path
    lines = dict.fromkeys(before.keys() - after.keys(), "-")
    lines |= dict.fromkeys(after.keys() - before.keys(), "+")
    lines |= {
        path: "~"
        for path in before.keys() & after.keys()
        if (before[path].etag, before[path].size_bytes) != (after[path].etag, after[path].size_bytes)
    }
    sys.stdout.writelines(f"{lines[path]} {path}\n" for path in sorted(lines))
    return EXIT_OK


def add_diff_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the releases to compare."""
    parser.add_argument("old", metavar="A", help="a release as `releases` lists it")
    parser.add_argument("new", metavar="B", nargs="?", help="another; default: the live one")


def verify(settings: DagsAgentSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Hash a release, the live one by default, as fast as the disk allows; print what differs, exit 1 then.

    Repairs nothing: the running agent does, and says so.

    Raises:
        Permanent: there is no such release.
    """
    layout = _release_layout(settings)
    manifest = _manifest(layout, arguments.release_id)
    verifier = Verifier(bytes_per_second=float("inf"), clock=runtime.clock, stop=runtime.stop)
    drift = verifier.verify(layout.release(manifest.release_id), manifest)
    if drift is None:
        raise Permanent(f"Cannot verify {manifest.release_id}", why="it was retired meanwhile")
    sys.stdout.writelines(f"damaged {path}\n" for path in sorted(drift.damaged))
    sys.stdout.writelines(f"foreign {path}\n" for path in sorted(drift.foreign))
    if drift:
        return EXIT_CRASH
    sys.stdout.write(f"{manifest.release_id}: {len(manifest.files)} files, all as published\n")
    return EXIT_OK


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the release to hash."""
    parser.add_argument("release_id", nargs="?", metavar="ID", help="default: the live one")


def rollback(settings: DagsAgentSettings, runtime: Runtime, arguments: argparse.Namespace) -> int:
    """Serve a kept release again, and stay there until ``resume``. Repeatable.

    Raises:
        Permanent: there is no such release, or it is no longer whole; nothing was changed.
        StandsBy: the agent is publishing right now; a retry helps.
        Fenced: another writer came between; nothing was changed, and a retry helps.
    """
    layout = _release_layout(settings)
    layout.prepare()
    lease = WriterLease(
        layout, lease_seconds=settings.writer_lease_seconds, clock=runtime.clock, stop=runtime.stop
    )
    with held_in_thread(lease) as fence:
        target = observe(layout)
        release_id = _chosen(target, arguments.release_id)
        _refuse_unless_whole(layout, release_id, runtime)
        former = read_hold(layout)
        now = runtime.clock.now()
        # The hold first: killed between the two, the agent stays where it is instead of rolling forward.
        place_hold(layout, release_id, since=now)
        if release_id != target.live:
            superseded = {id_: at for id_, at in target.superseded.items() if id_ != release_id}
            write_superseded(layout, superseded | ({target.live: now} if target.live else {}))
            _refuse_when_lost(fence, layout, former)
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


def _release_layout(settings: DagsAgentSettings) -> Layout:
    if settings.publish == "in_place":
        raise Permanent(
            "There are no releases",
            why="DAGS_AGENT_PUBLISH=in_place keeps one tree",
            remedy="Go back in S3: versioned objects can be restored there",
        )
    if not settings.target.is_dir():
        raise ConfigError(
            f"There is no DAGS_AGENT_TARGET {str(settings.target)!r}",
            why="it is no directory here",
            remedy="Check that the volume is mounted there",
        )
    return Layout(settings.target)


def _manifest(layout: Layout, wanted: str | None) -> Manifest:
    release_id = wanted or layout.live()
    if release_id is None or not is_release_id(release_id) or not layout.release(release_id).is_dir():
        raise Permanent(
            f"There is no release {wanted!r}" if wanted else "Nothing is published yet",
            remedy="`dags-agent releases` lists them",
        )
    return read_manifest(layout, release_id)


def _holders(layout: Layout, release_id: str, runtime: Runtime) -> str:
    leases = read_leases(layout, release_id, now=runtime.clock.now())
    return f"  leased by {', '.join(lease.holder for lease in leases)}" if leases else ""


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


def _refuse_when_lost(fence: Fence, layout: Layout, former: Hold | None) -> None:
    """Raise Fenced when we are the writer no longer, with the hold as it was before."""
    try:
        fence.refuse_when_lost()
    except Fenced:
        if former is None:
            lift_hold(layout)
        elif former.since is not None:
            place_hold(layout, former.release_id, since=former.since)
        raise


def _refuse_unless_whole(layout: Layout, release_id: str, runtime: Runtime) -> None:
    """Hash it: of the same size is not the same, and this is what readers get for as long as it is held."""
    try:
        manifest = read_manifest_file(layout.manifest(release_id))
    except (FileNotFoundError, ManifestUnreadable) as err:
        raise Permanent(f"Cannot roll back to {release_id}", why=f"its manifest is unusable: {err}") from err
    verifier = Verifier(bytes_per_second=float("inf"), clock=runtime.clock, stop=runtime.stop)
    drift = verifier.verify(layout.release(release_id), manifest)
    if drift is None:
        raise Permanent(f"Cannot roll back to {release_id}", why="it was being looked at, and went away")
    wrong = drift.damaged | drift.foreign
    if wrong:
        raise Permanent(
            f"Cannot roll back to {release_id}",
            why=f"{len(wrong)} of its files are not as published, for example {min(wrong)!r}",
            remedy="Choose another release",
        )


def _size(layout: Layout, release_id: str) -> str:
    try:
        files = read_manifest_file(layout.manifest(release_id)).files
    except (OSError, ManifestUnreadable):
        return "manifest unusable"
    return f"{len(files)} files, {sum(file.size_bytes for file in files)} bytes"
