"""The agent as the chassis runs it: the timer, one pass, the doctor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from dags_agent.cycle import Cycle
from dags_agent.events import Events
from dags_agent.keys import to_listing
from dags_agent.layout import Layout
from dags_agent.settings import DagsAgentSettings
from dags_agent.source import Source, connect
from sidecar.app import Finding, Runtime
from sidecar.errors import EXIT_OK, SidecarError, Transient
from sidecar.loop import Pace


class Agent:
    """See :class:`sidecar.app.Program`."""

    def __init__(self, settings: DagsAgentSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._events = Events(runtime.telemetry)

    async def run(self) -> int:
        """Follow the source until told to stop."""
        pace = Pace(
            period_seconds=self._settings.interval_seconds,
            deadline_seconds=self._settings.sync_timeout_seconds,
        )
        async with self._cycle() as cycle:
            await self._runtime.every(pace, cycle.tick)
        return EXIT_OK

    async def once(self) -> int:
        """Do one pass."""
        seconds = self._settings.sync_timeout_seconds
        try:
            async with asyncio.timeout(seconds), self._cycle() as cycle:
                await cycle.sync()
        except TimeoutError as err:
            raise Transient(
                f"The pass took longer than DAGS_AGENT_SYNC_TIMEOUT_SECONDS={seconds:g}",
                remedy="Give it more time, or check what S3 and the mount are doing",
            ) from err
        return EXIT_OK

    async def check(self) -> AsyncIterator[Finding]:
        """List the source, read one object, look at the target; change nothing."""
        async for finding in self._check_source():
            yield finding
        yield self._check_target()

    @asynccontextmanager
    async def _cycle(self) -> AsyncIterator[Cycle]:
        settings, runtime = self._settings, self._runtime
        async with connect_source(runtime, settings, connections=settings.max_concurrency) as source:
            cycle = Cycle(settings, runtime, source, self._events)
            try:
                yield cycle
            finally:
                cycle.close()

    async def _check_source(self) -> AsyncIterator[Finding]:
        settings = self._settings
        what = f"source {settings.source}"
        async with connect_source(self._runtime, settings, connections=1) as source:
            try:
                listing = to_listing(
                    await source.list(),
                    prefix=settings.source_url.prefix,
                    include=settings.include,
                    exclude=settings.exclude,
                )
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
            smallest = min(listing.objects, key=lambda item: item.size_bytes)
            try:
                async with source.open(smallest) as download:
                    await download.read(1)
            except SidecarError as err:
                yield _problem(f"object {smallest.key}", err)
            else:
                yield Finding(what="objects", verdict="ok", why=f"{smallest.key!r} can be read")

    def _check_target(self) -> Finding:
        layout = Layout(self._settings.target)
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
        try:
            live = layout.live()
        except SidecarError as err:
            return _problem(what, err)
        return Finding(what=what, verdict="ok", why=f"live release: {live or 'none yet'}")


def connect_source(
    runtime: Runtime, settings: DagsAgentSettings, *, connections: int
) -> AbstractAsyncContextManager[Source]:
    """Open the source that the settings name; see :func:`dags_agent.source.connect`."""
    return connect(
        runtime.aws,
        settings.source_url,
        connections=connections,
        clock=runtime.clock,
        stop=runtime.stop,
        rng=runtime.rng,
        client=settings.s3_client,
    )


def _problem(what: str, err: SidecarError) -> Finding:
    why = ": ".join(text for text in (err.what, err.why) if text)
    return Finding(what=what, verdict="problem", why=why, remedy=err.remedy)
