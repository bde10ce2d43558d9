"""How the inputs that are pushed to are put together: feeders, the spool between, and the line rules."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from log_forwarder.envelope import chunk_bytes
from log_forwarder.forward.addresses import parse
from log_forwarder.forward.server import ForwardServer
from log_forwarder.inputs.base import Kind, LineRules, WholeLines
from log_forwarder.inputs.pushed import Feeder, PushedInput
from log_forwarder.inputs.stdin import StdinFeeder
from log_forwarder.s3 import S3Store
from log_forwarder.settings import ForwarderSettings
from log_forwarder.spool.events import PushEvents
from log_forwarder.spool.places import Places
from log_forwarder.spool.segments import list_segments
from log_forwarder.spool.spool import Spool
from log_forwarder.spool.writer import SpoolWriter
from log_forwarder.state import State
from log_forwarder.transforms.rules import Rules
from log_forwarder.ui_segments import UiSegments
from sidecar.app import Runtime
from sidecar.errors import ConfigError

_MIB = 1024 * 1024


def is_pushed(settings: ForwarderSettings) -> bool:
    """Whether there is an input that needs a spool, or lines that one took before it was left out."""
    is_left_behind = any(segment.size_bytes for segment in list_segments(settings.state_dir / "spool"))
    return bool(settings.forward or settings.docker or settings.stdin) or is_left_behind


def rules_of(settings: ForwarderSettings, events: PushEvents) -> Callable[[Kind], LineRules]:
    """Return what is done to the lines of each kind of source."""
    if not (settings.redact or settings.multiline or settings.level):
        whole = WholeLines()
        return lambda _kind: whole

    def make(*, joins: bool) -> Rules:
        return Rules(
            redacts=settings.redact,
            joins=joins,
            lowest_level=settings.level or None,
            on_redacted=events.redacted,
            on_left_out=events.left_out,
        )

    text, tasks = make(joins=settings.multiline), make(joins=False)
    return lambda kind: tasks if kind == "airflow_task" else text


def ui_segments_of(settings: ForwarderSettings, runtime: Runtime, events: PushEvents) -> UiSegments | None:
    """Return what writes task logs where Airflow's UI reads them; None when that is not asked for."""
    if not settings.ui_url:
        return None
    return UiSegments(
        S3Store(runtime.aws, url=settings.ui_url, kms_key_id=settings.ui_kms_key_id),
        base_log_folder=settings.ui_base_log_folder,
        every_seconds=settings.flush_seconds,
        monotonic=runtime.clock.monotonic,
        now=runtime.clock.now,
        listener=events,
    )


def pushed_input(
    settings: ForwarderSettings,
    runtime: Runtime,
    events: PushEvents,
    *,
    state: State,
    rules: Callable[[Kind], LineRules],
    on_data: Callable[[], None],
) -> PushedInput:
    """Open the spool and begin to fill it.

    Raises:
        ConfigError: the spool cannot be used, or an address cannot be listened at.
    """
    places = Places(state)
    directory = settings.state_dir / "spool"
    try:
        spool = Spool(
            directory, budget_bytes=settings.disk_budget_mib * _MIB, begin_at=places.first_free_position()
        )
    except OSError as err:
        raise ConfigError(
            f"Cannot use the spool in {directory}",
            why=err.strerror or str(err),
            remedy="Free or repair the volume of LOG_FORWARDER_STATE_DIR",
        ) from err
    if spool.cut_bytes:
        events.spool_cut(cut_bytes=spool.cut_bytes)

    def writer(is_over: Callable[[], bool]) -> SpoolWriter:
        return SpoolWriter(
            spool,
            listener=events,
            on_data=on_data,
            is_over=is_over,
            drops_when_full=settings.when_full == "drop_newest",
            now=runtime.clock.now,
        )

    try:
        return PushedInput(
            spool=spool,
            places=places,
            feeders=_feeders(settings, runtime, events, state=state, spool=spool, writer=writer),
            rules=rules,
            limit_bytes=chunk_bytes(settings.format, redacts=settings.redact),
            monotonic=runtime.clock.monotonic,
            listener=events,
        )
    except BaseException:
        spool.close()
        raise


def _feeders(
    settings: ForwarderSettings,
    runtime: Runtime,
    events: PushEvents,
    *,
    state: State,
    spool: Spool,
    writer: Callable[[Callable[[], bool]], SpoolWriter],
) -> list[Feeder]:
    feeders: list[Feeder] = []
    if settings.forward:
        key = settings.forward_shared_key
        secret = runtime.secret(
            literal=key.get_secret_value() if key else None, secret_id=settings.forward_shared_key_secret_id
        )
        feeders.append(
            ForwardServer(
                [parse(url) for url in settings.forward],
                spool=spool,
                writer=writer,
                monotonic=runtime.clock.monotonic,
                listener=events,
                stop_timeout_seconds=settings.stop_timeout_seconds,
                shared_key=secret.value(),
            )
        )
    if settings.docker:
        feeders.append(_docker_feeder(settings, events, state=state, spool=spool, writer=writer))
    if settings.stdin:
        is_alone = not (settings.tail or settings.forward or settings.docker)
        feeders.append(
            StdinFeeder(
                sys.stdin.fileno(),
                writer=writer,
                on_end=lambda: runtime.stop.request("standard input ended") if is_alone else None,
                may_leave=lambda: runtime.stop.requested,
            )
        )
    return feeders


def _docker_feeder(
    settings: ForwarderSettings,
    events: PushEvents,
    *,
    state: State,
    spool: Spool,
    writer: Callable[[Callable[[], bool]], SpoolWriter],
) -> Feeder:
    # The docker SDK and requests are 6 MB that nobody needs who only tails files.
    from log_forwarder.inputs.docker import DockerFeeder  # noqa: PLC0415 - see above
    from log_forwarder.inputs.docker_engine import Engine  # noqa: PLC0415 - see above
    from log_forwarder.inputs.docker_marks import DockerMarks  # noqa: PLC0415 - see above

    return DockerFeeder(
        Engine(settings.docker_url, settings.docker_labels),
        marks=DockerMarks(state, spool),
        writer=writer,
        listener=events,
        own_hostname=socket.gethostname(),
    )
