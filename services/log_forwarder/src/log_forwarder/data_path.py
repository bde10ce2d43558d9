"""How the data path is put together: what reads, what sends, and what stands between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from log_forwarder.checkpoints import Checkpoints
from log_forwarder.compression import SUFFIX, compressor
from log_forwarder.dead_letters import DeadLetters
from log_forwarder.envelope import chunk_bytes
from log_forwarder.events import Events
from log_forwarder.firehose import Firehose
from log_forwarder.governor import Governor
from log_forwarder.groomer import Groomer
from log_forwarder.inputs.base import Input, Kind, LineRules
from log_forwarder.inputs.descriptors import descriptors_for_files
from log_forwarder.inputs.discovery import Globs
from log_forwarder.inputs.events import FileEvents
from log_forwarder.inputs.files import FileInput
from log_forwarder.inputs.finder import Finder
from log_forwarder.inputs.followed import FollowedFiles
from log_forwarder.inputs.open_files import OpenFiles
from log_forwarder.inputs.registry import Registry
from log_forwarder.inputs.scout import Inbox, Scout
from log_forwarder.ledger import Ledger
from log_forwarder.outbox import Outbox
from log_forwarder.overflow import Overflow
from log_forwarder.packer import Packer
from log_forwarder.plans import Plans
from log_forwarder.pump import Pump
from log_forwarder.push_path import is_pushed, pushed_input, rules_of, ui_segments_of
from log_forwarder.reader import Reader
from log_forwarder.s3 import S3Store
from log_forwarder.sender import Sender
from log_forwarder.settings import ForwarderSettings
from log_forwarder.spool.events import PushEvents
from log_forwarder.state import State
from log_forwarder.ui_segments import UiSegments
from log_forwarder.waker import Waker
from sidecar.app import Runtime

_MIB = 1024 * 1024
_CALL_MIB = 16  # of a call of 4 MiB there are three copies while boto3 encodes and signs it
_CALLS_MAX = 8
_OUTBOX_SHARE = 4  # of the memory; the rest is for calls
_OVERFLOW_SHARE = 0.7  # of the stop timeout: then what is left goes straight to S3
_HIGH_WATERMARK = 0.8  # of the disk budget: what is pushed goes to S3 before its clients have to wait
_SECONDS_PER_HOUR = 3600
_CLOSED_SEGMENTS_SECONDS = 2.0  # of logpipe: nobody but us reads them


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPath:
    """What runs, once everything it needs was found."""

    state: State
    sender: Sender
    pump: Pump
    overflow: Overflow
    ui_segments: UiSegments | None

    @property
    def is_broken(self) -> bool:
        """Whether it cannot go on."""
        return self.pump.crash is not None or self.sender.refused is not None

    def finish(self, now: float, stop_timeout_seconds: float) -> None:
        """Ship what is there now, and end within this time; straight to S3 when most of it is over."""
        self.overflow.at_once_from(now + stop_timeout_seconds * _OVERFLOW_SHARE)
        self.pump.finish()

    def close(self, patience_seconds: float) -> None:
        """End the threads; a call in flight may outlive this and still move its offsets."""
        self.pump.abandon()
        if self.ui_segments is not None:
            self.ui_segments.close()
        if self.pump.join(patience_seconds):
            self.state.close()


def build(
    settings: ForwarderSettings,
    runtime: Runtime,
    events: Events,
    *,
    facts: dict[str, str],
    on_change: Callable[[], None],
) -> DataPath:
    """Put the data path together; nothing runs yet.

    Args:
        settings: what the user said.
        runtime: the process.
        events: who is told.
        facts: about the ECS task, for the envelope.
        on_change: called from any thread when the control loop should look.

    Raises:
        ConfigError: the stream or the state directory cannot be used.
    """
    monotonic = runtime.clock.monotonic
    calls_max = max(1, min(_CALLS_MAX, settings.memory_mib // _CALL_MIB))
    firehose = Firehose(runtime.aws, settings.stream, connections=calls_max)
    state = State(settings.state_dir)
    waker = Waker()
    outbox = Outbox(
        governor=Governor(
            draw=runtime.rng.uniform,
            calls_max=calls_max,
            quota_bytes_per_second=settings.quota_mib_per_second * _MIB,
        ),
        most_bytes=settings.memory_mib * _MIB // _OUTBOX_SHARE,
        monotonic=monotonic,
        wake=waker.set,
    )
    suffix = f".ndjson{SUFFIX[settings.compression]}"
    store = (
        S3Store(runtime.aws, url=settings.overflow_url, kms_key_id=settings.overflow_kms_key_id)
        if settings.overflow_url
        else None
    )
    push_events = PushEvents(runtime.telemetry)
    rules = rules_of(settings, push_events)
    inputs: list[Input] = (
        [_files(settings, runtime, events.files, state, rules=rules, on_news=waker.set)]
        if tailed_globs(settings)
        else []
    )
    pushed: list[Input] = (
        [pushed_input(settings, runtime, push_events, state=state, rules=rules, on_data=waker.set)]
        if is_pushed(settings)
        else []
    )
    inputs += pushed
    high_watermark_bytes = settings.disk_budget_mib * _MIB * _HIGH_WATERMARK

    def is_pressed() -> bool:
        return sum(source.lag_bytes() for source in pushed) > high_watermark_bytes

    overflow = Overflow(
        store=store,
        suffix=suffix,
        after_seconds=settings.overflow_after_seconds,
        monotonic=monotonic,
        now=runtime.clock.now,
        is_pressed=is_pressed,
    )
    plans = Plans(state, _bytes_depend_on(settings))
    sender = Sender(
        outbox=outbox,
        firehose=firehose,
        overflow=overflow,
        dead_letters=DeadLetters(settings.state_dir / "dead_letters", store=store, suffix=suffix),
        ledger=Ledger(),
        plans=plans,
        listener=events,
        monotonic=monotonic,
        on_change=on_change,
    )
    ui_segments = ui_segments_of(settings, runtime, push_events)
    reader = Reader(
        inputs=inputs,
        packer=Packer(
            line_format=settings.format,
            compress=compressor(settings.compression),
            facts=facts,
            last_number=plans.last_number(),
            joins=settings.multiline,
        ),
        outbox=outbox,
        sender=sender,
        plans=plans,
        listener=events,
        monotonic=monotonic,
        flush_seconds=settings.flush_seconds,
        on_chunk=ui_segments.add if ui_segments else lambda _chunk: None,
    )
    pump = Pump(
        inputs=inputs,
        reader=reader,
        outbox=outbox,
        sender=sender,
        senders=calls_max,
        waker=waker,
        on_change=on_change,
    )
    return DataPath(state=state, sender=sender, pump=pump, overflow=overflow, ui_segments=ui_segments)


def globs_of(settings: ForwarderSettings) -> Globs:
    """Return what is tailed."""
    return _globs(settings, tailed_globs(settings))


def tailed_globs(settings: ForwarderSettings) -> list[str]:
    """Return the patterns of what is tailed: what the user names, and what ``logpipe`` writes."""
    return [*settings.tail, *(f"{directory.rstrip('/')}/*.log" for directory in settings.logpipe)]


def _globs(settings: ForwarderSettings, patterns: list[str]) -> Globs:
    return Globs(patterns, excluded=settings.state_dir, without=settings.exclude)


def _files(
    settings: ForwarderSettings,
    runtime: Runtime,
    events: FileEvents,
    state: State,
    *,
    rules: Callable[[Kind], LineRules],
    on_news: Callable[[], None],
) -> FileInput:
    monotonic = runtime.clock.monotonic
    checkpoints = Checkpoints(state)
    silent, in_all = descriptors_for_files(settings.open_files_max)
    open_files = OpenFiles(most=silent, limit=in_all)

    def now_ns() -> int:
        return int(runtime.clock.now().timestamp() * 1_000_000_000)

    files = FollowedFiles(
        registry=Registry(checkpoints),
        listener=events,
        monotonic=monotonic,
        open_files=open_files,
        now_ns=now_ns,
    )

    def finder(inbox: Inbox) -> Finder:
        return Finder(
            globs=globs_of(settings),
            open_files=open_files,
            follower=inbox,
            listener=inbox,
            monotonic=monotonic,
            now_ns=now_ns,
            scan_seconds=settings.scan_seconds,
            may_watch=settings.watch == "auto",
        )

    def groomer(patterns: list[str], after_seconds: float) -> Groomer:
        return Groomer(
            globs=_globs(settings, patterns),
            checkpoints=checkpoints,
            after_seconds=after_seconds,
            now_ns=now_ns,
            monotonic=monotonic,
            listener=events,
            on_delete=files.let_go,
        )

    closed = [f"{directory.rstrip('/')}/*.closed.log" for directory in settings.logpipe]
    return FileInput(
        files=files,
        finder=Scout(finder, Inbox(files, events, open_files), on_news=on_news),
        groomers=[
            groomer(tailed_globs(settings), settings.delete_after_hours * _SECONDS_PER_HOUR),
            groomer(closed, _CLOSED_SEGMENTS_SECONDS if closed else 0),
        ],
        rules=rules,
        monotonic=monotonic,
        listener=events,
        chunk_bytes=chunk_bytes(settings.format, redacts=settings.redact),
    )


def _bytes_depend_on(settings: ForwarderSettings) -> str:
    """Return what a record's bytes depend on beside the ranges it carries."""
    return json.dumps(
        [settings.format, settings.compression, settings.redact, settings.multiline, settings.level]
    )
