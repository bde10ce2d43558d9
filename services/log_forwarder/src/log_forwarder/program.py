"""The forwarder as the chassis sees it: start, watch, finish."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

from log_forwarder.checkpoints import Checkpoints
from log_forwarder.ecs import read_metadata
from log_forwarder.events import Events
from log_forwarder.firehose import Firehose
from log_forwarder.inputs.descriptors import descriptors_for_files
from log_forwarder.inputs.discovery import Globs
from log_forwarder.inputs.files import FileInput
from log_forwarder.outbox import Outbox
from log_forwarder.pump import Pump
from log_forwarder.reader import Reader
from log_forwarder.sender import Sender
from log_forwarder.settings import ForwarderSettings
from sidecar.app import Finding, Runtime
from sidecar.errors import EXIT_OK, SidecarError, Transient
from sidecar.loop import Pace

EXIT_LEFT_BEHIND = 3

_WATCH = Pace(
    period_seconds=1.0, deadline_seconds=5.0, backoff_max_seconds=60.0, failures_before_first_success=None
)
_JOIN_SECONDS = 0.5
_FINISH_SHARE = 0.9  # of the stop timeout; the rest is for the last checkpoint and the last log line


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What runs, once everything it needs was found."""

    checkpoints: Checkpoints
    sender: Sender
    pump: Pump

    @property
    def is_broken(self) -> bool:
        """Whether it cannot go on."""
        return self.pump.crash is not None or self.sender.refused is not None

    def close(self) -> None:
        """End the threads; a call in flight may outlive this and still move its offsets."""
        self.pump.abandon()
        if self.pump.join(_JOIN_SECONDS):
            self.checkpoints.close()


class LogForwarder:
    """Ships what the settings name, until told to stop."""

    def __init__(self, settings: ForwarderSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._events = Events(runtime.telemetry, runtime.health)
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
            work.close()

    async def once(self) -> int:
        """Ship what is there now and end; give up when nothing is accepted for the stop timeout."""
        work = await self._start()
        try:
            await self._finish_while_it_moves(work)
            return self._verdict(work)
        finally:
            work.close()

    async def check(self) -> AsyncIterator[Finding]:
        """Look at the stream, the state directory and the globs."""
        yield await asyncio.to_thread(self._check_stream)
        yield await asyncio.to_thread(self._check_state)
        globs = Globs(self._settings.tail, excluded=self._settings.state_dir)
        files = await asyncio.to_thread(lambda: sum(1 for _ in globs.scan()))
        yield Finding(
            what="files",
            verdict="ok" if files else "warning",
            why=f"the globs name {files} now",
            remedy="" if files else "Check LOG_FORWARDER_TAIL and the volume mounts",
        )

    async def _start(self) -> _Work:
        loop = asyncio.get_running_loop()

        def on_change() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._changed.set)

        firehose = Firehose(self._runtime.aws, self._settings.stream)
        await asyncio.to_thread(self._look, firehose)
        ecs = await asyncio.to_thread(
            read_metadata, self._runtime.environ.get("ECS_CONTAINER_METADATA_URI_V4", "")
        )
        checkpoints = Checkpoints(self._settings.state_dir)
        wake = threading.Event()
        outbox = Outbox(wake)
        files = FileInput(
            globs=Globs(self._settings.tail, excluded=self._settings.state_dir),
            checkpoints=checkpoints,
            monotonic=self._runtime.clock.monotonic,
            listener=self._events,
            open_files_max=descriptors_for_files(),
        )
        reader = Reader(
            files=files,
            outbox=outbox,
            line_format=self._settings.format,
            ecs=ecs,
            listener=self._events,
            monotonic=self._runtime.clock.monotonic,
            flush_seconds=self._settings.flush_seconds,
            scan_seconds=self._settings.scan_seconds,
        )
        sender = Sender(
            outbox=outbox,
            firehose=firehose,
            checkpoints=checkpoints,
            listener=self._events,
            rng=self._runtime.rng,
            on_change=on_change,
        )
        pump = Pump(files=files, reader=reader, outbox=outbox, sender=sender, wake=wake, on_change=on_change)
        pump.start()
        return _Work(checkpoints=checkpoints, sender=sender, pump=pump)

    def _look(self, firehose: Firehose) -> None:
        """Refuse to start on a stream we cannot use; an outage is no reason not to start."""
        try:
            firehose.look()
        except Transient as err:
            self._runtime.health.not_ready(str(err))

    async def _watch(self, work: _Work) -> None:
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
        if self._was_in_trouble:
            self._was_in_trouble = False
            self._events.recovered()

    async def _finish(self, work: _Work) -> None:
        """Let the data path drain, within the stop timeout."""
        work.pump.finish()
        await self._wait(work, self._settings.stop_timeout_seconds * _FINISH_SHARE)

    async def _finish_while_it_moves(self, work: _Work) -> None:
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
        await self._wait(work, self._settings.stop_timeout_seconds * _FINISH_SHARE)

    async def _wait(self, work: _Work, patience_seconds: float) -> None:
        """Wait until the data path has ended, or cannot."""
        clock = self._runtime.clock
        deadline = clock.monotonic() + patience_seconds
        while (left_seconds := deadline - clock.monotonic()) > 0 and not work.is_broken:
            if await asyncio.to_thread(work.pump.join, min(_JOIN_SECONDS, left_seconds)):
                return

    def _verdict(self, work: _Work) -> int:
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
            Checkpoints(self._settings.state_dir).close()
        except SidecarError as err:
            return Finding(what=what, verdict="problem", why=err.why, remedy=err.remedy)
        return Finding(what=what, verdict="ok", why="we can write to it, and nobody else does")


def _advice(work: _Work) -> str:
    return work.sender.trouble.remedy if work.sender.trouble else ""
