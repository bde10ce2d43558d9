"""One pass: look at S3 and at the target, decide, publish, tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from dags_agent.disk import observe
from dags_agent.errors import Refused, SourceChanged
from dags_agent.events import Events
from dags_agent.fetch import Fetcher
from dags_agent.keys import to_listing
from dags_agent.layout import Layout
from dags_agent.listing import Listing
from dags_agent.plan import (
    Discard,
    MakeDirectories,
    Policy,
    Retire,
    Step,
    Switch,
    Target,
    compare,
    make_plan,
)
from dags_agent.publish import Publisher
from dags_agent.settings import DagsAgentSettings
from dags_agent.source import Source
from dags_agent.state import read_hold
from sidecar.app import Runtime
from sidecar.errors import Transient

T = TypeVar("T")

# A deploy that rewrites objects faster than we can read them: leave it to the next pass.
_LISTINGS_PER_PASS = 3


class Cycle:
    """Keeps the target in step with the source, pass by pass.

    Between passes it remembers only which listing the live release was made from, and what was refused
    last; both are found again on disk and in S3 after a restart.
    """

    def __init__(self, settings: DagsAgentSettings, runtime: Runtime, source: Source, events: Events) -> None:
        self._settings = settings
        self._runtime = runtime
        self._source = source
        self._events = events
        self._layout = Layout(settings.target)
        self._policy = Policy(
            max_delete_fraction=settings.max_delete_fraction,
            keep_releases=settings.keep_releases,
            keep=timedelta(hours=settings.keep_hours),
            must_compile=settings.validate == "compile",
        )
        self._threads = ThreadPoolExecutor(settings.max_concurrency, thread_name_prefix="files")
        self._in_step: tuple[str, str] | None = None
        self._last_refusal: Refused | None = None
        self._gated: tuple[str, Refused] | None = None  # the listing whose files did not pass the gate

    def close(self) -> None:
        """Start no more file operations. Does not wait: a hung mount must not hold the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def tick(self) -> None:
        """Do one pass; a refusal is an answer, not a failure, as long as there is a release to serve.

        Raises:
            SidecarError: see :meth:`sync`.
        """
        try:
            await self.sync()
        except Refused:
            if await self._in_thread(self._layout.live) is None:
                raise

    async def sync(self) -> None:
        """Bring the target in step with the source, or leave it as it is.

        Raises:
            Refused: a guard said no; the live release stays.
            ConfigError: the source or the target is not what the settings say.
            Transient: S3, the file system or another agent was in the way; a retry may help.
        """
        for _ in range(_LISTINGS_PER_PASS):
            try:
                await self._pass()
            except SourceChanged as err:
                self._events.source_changed(err)
            except Refused as err:
                self._events.refused(err, is_new=str(err) != str(self._last_refusal))
                self._last_refusal = err
                raise
            except OSError as err:
                raise Transient(
                    f"Cannot publish into {str(self._settings.target)!r}",
                    why=str(err),
                    remedy="Check free space and the mount; it will be tried again, the live release stays",
                ) from err
            else:
                self._last_refusal = None
                return
        raise Transient(
            f"{self._settings.source} changed during each of {_LISTINGS_PER_PASS} listings",
            why="somebody is still uploading",
            remedy="It will be tried again",
        )

    async def _pass(self) -> None:
        hold = await self._in_thread(read_hold, self._layout)
        if hold is not None:
            self._events.held(hold)
            return
        listing = to_listing(
            await self._source.list(),
            prefix=self._settings.source_url.prefix,
            include=self._settings.include,
            exclude=self._settings.exclude,
        )
        self._events.listed(listing)
        live = await self._in_thread(self._layout.live)
        if live is not None and self._in_step == (live, listing.fingerprint):
            self._events.unchanged(live, listing)
        elif self._runtime.dry_run:
            await self._tell_what_would_be_done(listing)
        else:
            await self._in_thread(self._layout.prepare)
            with self._layout.locked():
                await self._publish(listing)

    async def _tell_what_would_be_done(self, listing: Listing) -> None:
        target = await self._in_thread(observe, self._layout)
        make_plan(listing, target, self._policy, now=self._runtime.clock.now())
        self._events.would_publish(compare(listing, target), live=target.live)

    async def _publish(self, listing: Listing) -> None:
        began = self._runtime.clock.monotonic()
        target = await self._in_thread(observe, self._layout)
        self._events.looked(target)
        steps = make_plan(listing, target, self._policy, now=self._runtime.clock.now())
        publisher = self._publisher()
        try:
            await self._execute(steps, publisher, listing)
        finally:
            self._events.not_removed(publisher.not_removed)
        self._tell(steps, target, listing, publisher, began=began)
        live = await self._in_thread(self._layout.live)
        self._in_step = (live, listing.fingerprint) if live is not None else None

    async def _execute(self, steps: tuple[Step, ...], publisher: Publisher, listing: Listing) -> None:
        built = next((step.release_id for step in steps if isinstance(step, MakeDirectories)), None)
        if built and self._gated and self._gated[0] == listing.fingerprint:
            raise self._gated[1]  # the same files again: do not download them to refuse them again
        try:
            for step in steps:
                await publisher.apply(step)
        except BaseException as err:
            if isinstance(err, Refused):
                self._gated = (listing.fingerprint, err)
            if built:
                await publisher.abandon(built)
            if isinstance(err, OSError):
                await self._discard(steps, publisher)
            raise

    async def _discard(self, steps: tuple[Step, ...], publisher: Publisher) -> None:
        """Free what garbage holds, which a plan leaves to the end: the disk may be full because of it."""
        for step in steps:
            if isinstance(step, Discard):
                await publisher.apply(step)

    def _tell(
        self, steps: tuple[Step, ...], target: Target, listing: Listing, publisher: Publisher, *, began: float
    ) -> None:
        self._events.swept(publisher.leftovers_removed)
        self._events.retired(sum(isinstance(step, Retire) for step in steps))
        switch = next((step for step in steps if isinstance(step, Switch)), None)
        if switch is None:
            if target.live is not None:
                self._events.unchanged(target.live, listing)
            return
        self._events.published(
            switch.release_id,
            compare(listing, target),
            previous=target.live,
            downloaded_objects=publisher.downloaded_objects,
            downloaded_bytes=publisher.downloaded_bytes,
            at=self._runtime.clock.now(),
            duration_seconds=self._runtime.clock.monotonic() - began,
        )

    def _publisher(self) -> Publisher:
        runtime = self._runtime
        fetcher = Fetcher(
            self._source,
            concurrency=self._settings.max_concurrency,
            threads=self._threads,
            clock=runtime.clock,
            stop=runtime.stop,
            rng=runtime.rng,
        )
        return Publisher(self._layout, fetcher, source=self._settings.source, threads=self._threads)

    async def _in_thread(self, act: Callable[..., T], *arguments: object) -> T:
        """Look. Unlike the steps of a publish, a look may be left alone: a hung mount meets the deadline."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, act, *arguments)
