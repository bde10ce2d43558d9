"""The forwarder as the chassis sees it: start, watch, finish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from log_forwarder.data_path import DataPath, build, globs_of
from log_forwarder.ecs import read_metadata
from log_forwarder.events import Events
from log_forwarder.firehose import Firehose
from log_forwarder.settings import ForwarderSettings
from log_forwarder.state import State, StateInUseError
from sidecar.app import Finding, Runtime
from sidecar.errors import EXIT_OK, SidecarError, Transient
from sidecar.loop import Pace

EXIT_LEFT_BEHIND = 3

_WATCH = Pace(
    period_seconds=1.0, deadline_seconds=5.0, backoff_max_seconds=60.0, failures_before_first_success=None
)
_JOIN_SECONDS = 0.5
_FINISH_SHARE = 0.9  # of the stop timeout; the rest is for the last checkpoint and the last log line


class LogForwarder:
    """Ships what the settings name, until told to stop."""

    def __init__(self, settings: ForwarderSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._events = Events(runtime.telemetry, runtime.health, runtime.clock)
        self._changed = asyncio.Event()
        self._was_in_trouble = False

    async def run(self) -> int:
        """Ship until the order to stop, then ship what is there and end.

        Raises:
            ConfigError: the stream or the state directory cannot be used; nothing was sent.
        """
        work = await self._start()
        try:
            await self._runtime.every(_WATCH, lambda: self._watch(work), wake=self._changed)
            await self._finish(work)
            return self._verdict(work)
        finally:
            work.close(_JOIN_SECONDS)

    async def once(self) -> int:
        """Ship what is there now and end; give up when nothing is accepted for the stop timeout."""
        work = await self._start()
        try:
            await self._finish_while_it_moves(work)
            return self._verdict(work)
        finally:
            work.close(_JOIN_SECONDS)

    async def check(self) -> AsyncIterator[Finding]:
        """Look at the stream, the state directory and the globs."""
        yield await asyncio.to_thread(self._check_stream)
        yield await asyncio.to_thread(self._check_state)
        globs = globs_of(self._settings)
        files = await asyncio.to_thread(lambda: sum(1 for _ in globs.scan()))
        yield Finding(
            what="files",
            verdict="ok" if files else "warning",
            why=f"the globs name {files} now",
            remedy="" if files else "Check LOG_FORWARDER_TAIL and the volume mounts",
        )

    async def _start(self) -> DataPath:
        loop = asyncio.get_running_loop()

        def on_change() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._changed.set)

        firehose = Firehose(self._runtime.aws, self._settings.stream)
        await asyncio.to_thread(self._look, firehose)
        ecs = await asyncio.to_thread(
            read_metadata, self._runtime.environ.get("ECS_CONTAINER_METADATA_URI_V4", "")
        )
        work = build(self._settings, self._runtime, self._events, facts=ecs, on_change=on_change)
        work.pump.start()
        return work

    def _look(self, firehose: Firehose) -> None:
        """Refuse to start on a stream we cannot use; an outage is no reason not to start."""
        try:
            firehose.look()
        except Transient as err:
            self._runtime.health.not_ready(str(err))

    async def _watch(self, work: DataPath) -> None:
        """One cycle of the control loop: is the data path alive, and does Firehose accept?

        Raises:
            SidecarError: why lines are held back; they are safe, and sending goes on.
        """
        if work.is_broken:
            self._runtime.stop.request("the data path ended")
            return
        if work.sender.trouble is not None:
            self._was_in_trouble = True
            raise Transient(
                "Lines are held back in their files", why=str(work.sender.trouble), remedy=_advice(work)
            )
        if work.state.trouble is not None:
            self._was_in_trouble = True
            raise work.state.trouble
        if self._was_in_trouble:
            self._was_in_trouble = False
            self._events.recovered()

    async def _finish(self, work: DataPath) -> None:
        """Let the data path drain, within the stop timeout."""
        work.finish(self._runtime.clock.monotonic(), self._settings.stop_timeout_seconds)
        await self._wait(work, self._settings.stop_timeout_seconds * _FINISH_SHARE)

    async def _finish_while_it_moves(self, work: DataPath) -> None:
        """Let the data path drain however long it takes, as long as Firehose accepts something."""
        work.pump.finish()
        clock = self._runtime.clock
        deliveries, moved_at = work.sender.deliveries, clock.monotonic()
        while not self._runtime.stop.requested and not work.is_broken:
            if await asyncio.to_thread(work.pump.join, _JOIN_SECONDS):
                return
            if work.sender.deliveries != deliveries:
                deliveries, moved_at = work.sender.deliveries, clock.monotonic()
            elif clock.monotonic() - moved_at > self._settings.stop_timeout_seconds:
                return
        work.finish(clock.monotonic(), self._settings.stop_timeout_seconds)
        await self._wait(work, self._settings.stop_timeout_seconds * _FINISH_SHARE)

    async def _wait(self, work: DataPath, patience_seconds: float) -> None:
        """Wait until the data path has ended, or cannot."""
        clock = self._runtime.clock
        deadline = clock.monotonic() + patience_seconds
        while (left_seconds := deadline - clock.monotonic()) > 0 and not work.is_broken:
            if await asyncio.to_thread(work.pump.join, min(_JOIN_SECONDS, left_seconds)):
                return

    def _verdict(self, work: DataPath) -> int:
        """Say how it ended."""
        if work.pump.crash is not None:
            raise work.pump.crash
        if work.sender.refused is not None:
            raise work.sender.refused
        has_ended = work.pump.join(0.0)
        work.pump.abandon()
        left_bytes = work.pump.left_bytes()
        if has_ended and not left_bytes:
            self._events.finished()
            return EXIT_OK
        slow = "there was not enough time" if not has_ended else "some files cannot be read"
        why = str(work.sender.trouble or slow)
        self._events.left_behind(left_bytes=left_bytes, why=why)
        return EXIT_LEFT_BEHIND

    def _check_stream(self) -> Finding:
        what = f"stream {self._settings.stream}"
        try:
            status = Firehose(self._runtime.aws, self._settings.stream).look()
        except SidecarError as err:
            return Finding(what=what, verdict="problem", why=err.why, remedy=err.remedy)
        return Finding(what=what, verdict="ok" if status == "ACTIVE" else "warning", why=f"it is {status}")

    def _check_state(self) -> Finding:
        what = f"state directory {self._settings.state_dir}"
        try:
            State(self._settings.state_dir).close()
        except StateInUseError as err:
            return Finding(what=what, verdict="warning", why=f"in use: {err.why}", remedy=err.remedy)
        except SidecarError as err:
            return Finding(what=what, verdict="problem", why=err.why, remedy=err.remedy)
        return Finding(what=what, verdict="ok", why="we can write to it, and nobody else does")


def _advice(work: DataPath) -> str:
    return work.sender.trouble.remedy if work.sender.trouble else ""
