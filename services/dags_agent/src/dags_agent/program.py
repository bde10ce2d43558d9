"""The agent as the chassis runs it: the timer, the events, the verification, one pass, the doctor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from dags_agent.connecting import connect_source
from dags_agent.cycle import Cycle
from dags_agent.doctor import findings
from dags_agent.events import Events
from dags_agent.layout import Layout
from dags_agent.note import read_note
from dags_agent.ownership import Owner
from dags_agent.settings import DagsAgentSettings
from dags_agent.wakeups import Queue, Wakeups
from sidecar.app import Finding, Runtime
from sidecar.errors import EXIT_OK, SidecarError, Transient
from sidecar.http import Answer
from sidecar.loop import Pace

# The flag of `once` that lifts the guards against deletions for one pass.
ALLOW_DELETE = "allow-delete"


class Agent:
    """See :class:`sidecar.app.Program`."""

    def __init__(self, settings: DagsAgentSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._events = Events(runtime.telemetry)
        self._wake = asyncio.Event()
        runtime.route("/release", self._release)

    async def run(self) -> int:
        """Follow the source until told to stop."""
        pace = Pace(
            period_seconds=self._settings.interval_seconds,
            deadline_seconds=self._settings.sync_timeout_seconds,
        )
        async with (
            self._cycle(wake=self._wake) as cycle,
            self._woken(cycle) as tick,
            asyncio.TaskGroup() as group,
        ):
            verifying = group.create_task(self._verify_now_and_then(cycle))
            try:
                await self._runtime.every(pace, tick, wake=self._wake)
            finally:
                verifying.cancel()
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

    def check(self) -> AsyncIterator[Finding]:
        """List the source, read one object, look at the target and the queue; change nothing."""
        return findings(self._settings, self._runtime)

    @asynccontextmanager
    async def _cycle(self, *, wake: asyncio.Event | None = None) -> AsyncIterator[Cycle]:
        settings, runtime = self._settings, self._runtime
        os.umask(int(settings.umask, 8))
        async with connect_source(runtime, settings, connections=settings.max_concurrency) as source:
            cycle = Cycle(
                settings,
                runtime,
                source,
                self._events,
                may_delete_all=ALLOW_DELETE in runtime.flags,
                owner=self._owner(),
                wake=wake,
            )
            try:
                yield cycle
            finally:
                cycle.close()

    @asynccontextmanager
    async def _woken(self, cycle: Cycle) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Yield a tick that S3's notifications begin early, where there are any."""
        url = self._settings.events_queue_url
        if url is None:
            yield cycle.tick
            return
        from dags_agent.sqs import connect_queue  # noqa: PLC0415 - see there

        wakeups = Wakeups(self._settings, self._runtime, self._events, self._wake)
        async with connect_queue(self._runtime.aws, url) as queue, asyncio.TaskGroup() as group:
            following = group.create_task(wakeups.follow(queue))

            async def tick() -> None:
                await _covering(wakeups, queue, cycle)

            try:
                yield tick
            finally:
                following.cancel()

    async def _verify_now_and_then(self, cycle: Cycle) -> None:
        """Hash the live tree at start and then from time to time; a pass follows when something differs."""
        clock, stop = self._runtime.clock, self._runtime.stop
        interval_seconds = self._settings.verify_interval_seconds
        await cycle.has_live.wait()
        while interval_seconds and not stop.requested:
            try:
                await cycle.verify()
            except SidecarError as err:
                self._events.verify_failed(err)
            if cycle.has_drift:
                self._wake.set()
            await clock.wait(interval_seconds, stop.event)

    def _owner(self) -> Owner | None:
        """Return who files must be handed to; None when they are that owner's anyway, or cannot be."""
        owner = Owner.parse(self._settings.owner)
        if owner.is_what_new_files_get():
            return None
        if os.geteuid() != 0:
            self._events.owner_not_given(owner, f"only root may give files away, this is uid {os.geteuid()}")
            return None
        return owner

    def _release(self) -> Answer:
        """Answer ``GET /release`` with the note of the live release; on an HTTP thread."""
        layout = Layout(self._settings.target)
        tree = layout.target if self._settings.publish == "in_place" else layout.current
        try:
            note = read_note(tree)
        except OSError as err:
            return Answer(body=f"{err}\n".encode(), status=503)
        if note is None:
            return Answer(body=b"nothing is published yet\n", status=404)
        return Answer(body=note.to_json(), content_type="application/json")


async def _covering(wakeups: Wakeups, queue: Queue, cycle: Cycle) -> None:
    """Do a pass, then delete the messages that came before it; a failed pass leaves them for the next."""
    is_quiet = wakeups.begin()
    await cycle.tick(is_quiet=is_quiet)
    await wakeups.covered(queue)
