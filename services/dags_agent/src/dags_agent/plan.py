"""Decide what a pass does: from the listing, the live manifest and the target to ordered steps. Pure.

The order is the promise. Nothing under ``current`` changes before the new release is whole and
durable; ``current`` moves in one step; what readers may still hold is removed last, and late. Stopping
after any step and planning again from what is then on disk reaches the same goal. What no reader waits for
comes last of all: the links for the next release, and deleting, which readers may have made slow, or
impossible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dags_agent.errors import Reason, Refused, Skip
from dags_agent.keys import parents
from dags_agent.listing import Listing, Skipped, SourceObject, is_same_marker
from dags_agent.manifest import ReleasedFile, new_release_id, published_at
from dags_agent.policy import Policy
from dags_agent.retention import to_retire
from dags_agent.steps import (
    CompileFiles,
    Discard,
    FetchFiles,
    LinkFiles,
    MakeDirectories,
    Place,
    Prepare,
    Record,
    Retire,
    Seal,
    Step,
    Sweep,
    Switch,
)
from dags_agent.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """How a listing differs from the live release."""

    unchanged: tuple[ReleasedFile, ...]
    changed: tuple[SourceObject, ...]
    deleted: tuple[str, ...]


def resolve(listing: Listing, target: Target) -> Listing:
    """Return the listing with each archived object decided: kept where the live release has it, or skipped.

    A lifecycle rule that archives an object changes neither its bytes nor its ETag.
    """
    if not listing.archived:
        return listing
    known = target.manifest.by_path if target.manifest else {}
    kept, skipped = [], []
    for item in listing.archived:
        if _is_same(known.get(item.path), item) and item.path not in target.damaged:
            kept.append(item)
        else:
            why = "it is archived: copy it onto itself as STANDARD (a restore alone is not listed)"
            skipped.append(Skipped(key=item.key, skip=Skip.ARCHIVED_OBJECT, why=why))
    return Listing(
        objects=tuple(sorted((*listing.objects, *kept), key=lambda item: item.path)),
        skipped=(*listing.skipped, *skipped),
        marker=listing.marker,
    )


def compare(listing: Listing, target: Target) -> Delta:
    """Return what changed, by path, size and ETag; a damaged file counts as changed."""
    known = target.manifest.by_path if target.manifest else {}
    unchanged, changed = [], []
    for item in listing.objects:
        file = known.get(item.path)
        if file is not None and _is_same(file, item) and item.path not in target.damaged:
            unchanged.append(file)
        else:
            changed.append(item)
    listed = {item.path for item in listing.objects}
    return Delta(
        unchanged=tuple(unchanged),
        changed=tuple(changed),
        deleted=tuple(path for path in known if path not in listed),
    )


def _is_same(file: ReleasedFile | None, item: SourceObject) -> bool:
    return file is not None and (file.size_bytes, file.etag) == (item.size_bytes, item.etag)


def make_plan(
    listing: Listing, target: Target, policy: Policy, *, now: datetime, deploy: str = ""
) -> tuple[Step, ...]:
    """Return the steps from ``target`` to ``listing``; no steps when it is there already.

    ``deploy`` is what the deployer calls it; for the release's note.

    Raises:
        Refused: publishing would, or might, destroy more than anybody meant.
    """
    delta = compare(listing, target)
    refuse_destruction(listing, delta, target, policy)
    steps: list[Step] = [
        Discard(leftover=leftover) for leftover in target.leftovers if leftover.place is not Place.TRASH
    ]
    live, superseded = target.live, dict(target.superseded)
    if live is None or delta.changed or delta.deleted or target.foreign or is_renamed(listing, target):
        ready = _already_built(listing, target)
        release_id = ready or _next_id(listing, target, now)
        if not ready:
            steps += _build(release_id, listing, delta, target, policy, deploy=deploy)
        superseded = {release: at for release, at in superseded.items() if release in target.releases}
        superseded.pop(release_id, None)
        if live is not None:
            superseded[live] = now
        # The record first: killed between the two, the release that was live a moment ago is still young.
        steps += (Record(superseded=superseded), Switch(release_id=release_id, predecessor=live))
        live = release_id
    retired = to_retire({*target.releases, live}, live, superseded, policy, now=now, leased=target.leased)
    steps += (Retire(release_id=release) for release in retired)
    prepares = policy.prepares_ahead and live != target.live
    if prepares:
        steps.append(Prepare(live=live))
    if retired or target.leftovers or prepares:
        steps.append(Sweep())
    return tuple(steps)


def is_renamed(listing: Listing, target: Target) -> bool:
    """Return whether a marker announces the live files again: a pipeline waits for its own deploy."""
    known = target.manifest
    if listing.marker is None or known is None:
        return False
    return not is_same_marker(listing.marker, etag=known.marker_etag, written_at=known.marker_written_at)


def refuse_destruction(listing: Listing, delta: Delta, target: Target, policy: Policy) -> None:
    """Raise Refused when publishing would, or might, destroy more than anybody meant."""
    known = target.manifest or target.former
    if policy.may_delete_all and known is not None:
        return
    if not listing.objects:
        raise Refused(
            Reason.EMPTY_LISTING,
            "The source lists no file to publish",
            why="an empty listing is more often a wrong prefix, filter or permission than a wish",
            remedy=(
                "Check DAGS_AGENT_SOURCE, _INCLUDE and _EXCLUDE; if it is meant: "
                "`dags-agent once --allow-delete`. The live release stays"
            ),
        )
    files = known.by_path if known else {}
    deleted = (
        delta.deleted if target.manifest else sorted(files.keys() - {item.path for item in listing.objects})
    )
    if files and len(deleted) / len(files) > policy.max_delete_fraction:
        raise Refused(
            Reason.TOO_MANY_DELETIONS,
            f"The source lacks {len(deleted)} of {len(files)} live files, as {deleted[0]!r}",
            why=f"that is more than DAGS_AGENT_MAX_DELETE_FRACTION={policy.max_delete_fraction:g}",
            remedy="If it is meant: `dags-agent once --allow-delete`. The live release stays",
        )


def _already_built(listing: Listing, target: Target) -> str | None:
    """Return a newer release with exactly these files: built before a crash, or left by a rollback.

    Only newer ones: an older release would give readers older modification times, and Airflow parses
    a file again only when its time grew.
    """
    if target.damaged or target.foreign or is_renamed(listing, target):
        return None
    ready = [
        release
        for release, fingerprint in target.releases.items()
        if fingerprint == listing.fingerprint and (target.live is None or release > target.live)
    ]
    return max(ready, default=None)


def _next_id(listing: Listing, target: Target, now: datetime) -> str:
    return new_release_id(_publish_second(target, now), listing.fingerprint)


def _publish_second(target: Target, now: datetime) -> int:
    """Return a second later than that of every release on disk, and of every file that was live.

    CPython takes byte code as fresh when the source's size and modification *second* are equal
    (https://docs.python.org/3/reference/import.html#cached-bytecode-invalidation), so no two releases
    may share one, however fast they follow each other. Files get their time as they are written, so the
    newest of them counts; where it is not known (a release that a rollback left), when it was replaced does.
    """
    taken = [int(published_at(release).timestamp()) for release in {*target.releases, target.live} if release]
    taken += [file.mtime_seconds for file in target.manifest.files] if target.manifest else []
    taken += [
        int(at.timestamp()) for release, at in target.superseded.items() if release > (target.live or "")
    ]
    return max([int(now.timestamp()), *(second + 1 for second in taken)])


def _build(
    release_id: str, listing: Listing, delta: Delta, target: Target, policy: Policy, *, deploy: str
) -> Sequence[Step]:
    directories = sorted({parent for item in listing.objects for parent in parents(item.path)})
    has_links = delta.unchanged and target.live is not None
    ahead = target.ahead if has_links and target.ahead == target.live else None
    steps: list[Step] = [MakeDirectories(release_id=release_id, directories=tuple(directories), ahead=ahead)]
    if delta.unchanged and target.live is not None:
        steps.append(LinkFiles(release_id=release_id, predecessor=target.live, files=delta.unchanged))
    mtime_seconds = int(published_at(release_id).timestamp())
    steps.append(FetchFiles(release_id=release_id, objects=delta.changed, mtime_seconds=mtime_seconds))
    sources = tuple(item.path for item in delta.changed if item.path.endswith(".py"))
    if policy.must_compile and sources:
        steps.append(CompileFiles(release_id=release_id, paths=sources))
    steps.append(Seal(release_id=release_id, listing=listing, deleted=len(delta.deleted), deploy=deploy))
    return steps
