"""How every sidecar's process starts, runs and stops: signals, the deadline, the HTTP port, exit codes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from typing import Any, Literal

from sidecar import logs
from sidecar.app import Program, Runtime, Sidecar
from sidecar.aws import Aws, explain
from sidecar.clock import Stop, SystemClock
from sidecar.errors import EXIT_CRASH
from sidecar.health import Health
from sidecar.http import HttpServer
from sidecar.settings import SidecarSettings
from sidecar.telemetry import Telemetry

_BEAT_SECONDS = 1.0
_GRACE_SECONDS = 1.0  # for what a cancelled coroutine still has to tidy up
_EMF_SECONDS = 60.0


def build_runtime(
    sidecar: Sidecar[Any],
    settings: SidecarSettings,
    environ: Mapping[str, str],
    *,
    dry_run: bool,
    flags: frozenset[str] = frozenset(),
) -> Runtime:
    """Set up logging and return what the service may use."""
    version = installed_version(sidecar.name)
    logs.configure(service=sidecar.name, level=settings.log_level, log_format=settings.log_format)
    clock = SystemClock()
    return Runtime(
        aws=Aws(service=sidecar.name, version=version, region=environ.get("AWS_REGION") or None),
        clock=clock,
        stop=Stop(),
        telemetry=Telemetry(service=sidecar.name, version=version, clock=clock),
        health=Health(clock),
        rng=random.Random(),  # noqa: S311 - jitter, not cryptography
        environ=environ,
        dry_run=dry_run,
        flags=flags,
    )


def run(
    sidecar: Sidecar[Any], settings: SidecarSettings, runtime: Runtime, verb: Literal["run", "once"]
) -> int:
    """Run the program to its end and translate how it ended into an exit code.

    The caller ends the process: a thread that still hangs then, on a mount for example, is left behind.
    """
    last_resort = _LastResort(runtime, settings.stop_timeout_seconds + _GRACE_SECONDS)
    try:
        code = asyncio.run(_supervise(sidecar, settings, runtime, verb, last_resort))
    except Exception as err:  # noqa: BLE001 - the last place that can tell what happened
        known = explain(err)
        runtime.telemetry.fatal(known or err)
        code = known.exit_code if known else EXIT_CRASH
    last_resort.arm()  # the interpreter joins every thread before it ends, however long they take
    if settings.metrics_emf:
        _write_emf(runtime)
    runtime.telemetry.stopped(code)
    return code


class _LastResort:
    """Ends the process when it has not ended by itself: a blocked thread cannot be cancelled, only left."""

    def __init__(self, runtime: Runtime, seconds: float) -> None:
        self._runtime = runtime
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def arm(self) -> None:
        if not self._timer.is_alive():
            self._timer.start()

    def _end(self) -> None:
        self._runtime.telemetry.stopped(EXIT_CRASH)
        os._exit(EXIT_CRASH)


async def _supervise(
    sidecar: Sidecar[Any],
    settings: SidecarSettings,
    runtime: Runtime,
    verb: Literal["run", "once"],
    last_resort: _LastResort,
) -> int:
    loop = asyncio.get_running_loop()
    runtime.stop.bind(loop)
    _listen_for_signals(loop, runtime, last_resort)
    runtime.telemetry.started(dict(settings.effective()))
    program: Program = sidecar.wire(settings, runtime)
    http = _start_http(settings, runtime) if verb == "run" else None
    try:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(program.run() if verb == "run" else program.once(), name=verb)
            aside = [
                group.create_task(_beat(runtime), name="beat"),
                group.create_task(
                    _enforce_deadline(runtime, settings.stop_timeout_seconds, work), name="deadline"
                ),
            ]
            if settings.metrics_emf:
                aside.append(group.create_task(_emit_metrics(runtime), name="emf"))
            work.add_done_callback(lambda _: [task.cancel() for task in aside])
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    finally:
        if http is not None:
            http.stop()
    return EXIT_CRASH if work.cancelled() else work.result()


def _listen_for_signals(loop: asyncio.AbstractEventLoop, runtime: Runtime, last_resort: _LastResort) -> None:
    """First signal: finish within the deadline. Second signal: end now."""

    def received(number: signal.Signals) -> None:
        if runtime.stop.requested:
            os._exit(128 + number)
        runtime.telemetry.stopping(number.name)
        runtime.stop.request(number.name)
        last_resort.arm()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)


def _start_http(settings: SidecarSettings, runtime: Runtime) -> HttpServer | None:
    if settings.http_port == 0:
        return None
    http = HttpServer(
        host=settings.http_host,
        port=settings.http_port,
        telemetry=runtime.telemetry,
        health=runtime.health,
        routes=runtime.routes,
    )
    http.start()
    runtime.telemetry.listening(settings.http_host, http.port)
    return http


async def _beat(runtime: Runtime) -> None:
    never = asyncio.Event()
    while True:
        runtime.health.beat()
        await runtime.clock.wait(_BEAT_SECONDS, never)


async def _emit_metrics(runtime: Runtime) -> None:
    while not await runtime.clock.wait(_EMF_SECONDS, runtime.stop.event):
        _write_emf(runtime)


def _write_emf(runtime: Runtime) -> None:
    sys.stdout.writelines(f"{line}\n" for line in runtime.telemetry.emf(runtime.clock.now()))
    sys.stdout.flush()


async def _enforce_deadline(runtime: Runtime, seconds: float, work: asyncio.Task[int]) -> None:
    """Cancel the work when it has not ended ``seconds`` after the order to stop."""
    await runtime.stop.event.wait()
    await runtime.clock.wait(seconds, asyncio.Event())
    work.cancel()


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error that is not a group: one cause is what a person can act on."""
    first: BaseException = errors.exceptions[0]
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
