"""What ``dags-agent check`` looks at: source, one object, target, events queue. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from dags_agent.arrivals import rules_of
from dags_agent.connecting import connect_source
from dags_agent.keys import to_listing
from dags_agent.layout import Layout
from dags_agent.listing import Listing
from dags_agent.settings import DagsAgentSettings
from dags_agent.source import Source
from sidecar.app import Finding, Runtime
from sidecar.errors import SidecarError


async def findings(settings: DagsAgentSettings, runtime: Runtime) -> AsyncIterator[Finding]:
    """Yield what was looked at, one by one."""
    async with connect_source(runtime, settings, connections=1) as source:
        async for finding in _of_source(settings, source):
            yield finding
    yield of_target(settings)
    if settings.events_queue_url:
        yield await _of_queue(settings.events_queue_url, runtime)


async def _of_source(settings: DagsAgentSettings, source: Source) -> AsyncIterator[Finding]:
    what = f"source {settings.source}"
    try:
        listing = to_listing(await source.list(), rules_of(settings))
    except SidecarError as err:
        yield _problem(what, err)
        return
    if not listing.objects:
        yield Finding(
            what=what,
            verdict="problem",
            why="it lists no file to publish",
            remedy="Upload the DAGs, or correct DAGS_AGENT_SOURCE",
        )
        return
    yield Finding(what=what, verdict="ok", why=f"{len(listing.objects)} files")
    for finding in _of_keys(settings, listing):
        yield finding
    smallest = min(listing.objects, key=lambda item: item.size_bytes)
    try:
        async with source.open(smallest) as download:
            await download.read(1)
    except SidecarError as err:
        yield _problem(f"object {smallest.key}", err)
    else:
        yield Finding(what="objects", verdict="ok", why=f"{smallest.key!r} can be read")


def _of_keys(settings: DagsAgentSettings, listing: Listing) -> list[Finding]:
    found = [
        Finding(
            what=f"object {item.key!r}",
            verdict="warning",
            why=f"it is left out: {item.why}",
            remedy="Rename, restore or delete it, or add it to DAGS_AGENT_EXCLUDE",
        )
        for item in listing.skipped[:5]
    ]
    found += [
        Finding(
            what=f"object {item.key!r}",
            verdict="warning",
            why="it is archived: left out, unless the live release has these bytes",
            remedy="Copy it onto itself as STANDARD, delete it, or add it to DAGS_AGENT_EXCLUDE",
        )
        for item in listing.archived[:5]
    ]
    if settings.marker is not None and listing.marker is None:
        found.append(
            Finding(
                what=f"marker {settings.marker}",
                verdict="problem",
                why="it is not there, so nothing is published",
                remedy="Let the deployer write it last, or unset DAGS_AGENT_MARKER",
            )
        )
    return found


def of_target(settings: DagsAgentSettings) -> Finding:
    """Look at the target."""
    layout = Layout(settings.target)
    what = f"target {layout.target}"
    if not layout.target.is_dir():
        return Finding(
            what=what, verdict="problem", why="it is no directory", remedy="Mount the volume there"
        )
    if not os.access(layout.target, os.W_OK | os.X_OK):
        return Finding(
            what=what,
            verdict="problem",
            why="this user may not write it",
            remedy="Check the EFS access point's owner and that the mount is not read-only",
        )
    if settings.publish == "in_place":
        return Finding(what=what, verdict="ok", why="a plain directory, published in place")
    try:
        live = layout.live()
    except SidecarError as err:
        return _problem(what, err)
    except OSError as err:
        return Finding(what=what, verdict="problem", why=str(err), remedy="Check the mount")
    return Finding(what=what, verdict="ok", why=f"live release: {live or 'none yet'}")


async def _of_queue(url: str, runtime: Runtime) -> Finding:
    from dags_agent.sqs import connect_queue  # noqa: PLC0415 - see there

    what = f"events queue {url}"
    try:
        async with connect_queue(runtime.aws, url) as queue:
            await queue.look()
    except SidecarError as err:
        return _problem(what, err)
    return Finding(what=what, verdict="ok")


def _problem(what: str, err: SidecarError) -> Finding:
    why = ": ".join(text for text in (err.what, err.why) if text)
    return Finding(what=what, verdict="problem", why=why, remedy=err.remedy)
