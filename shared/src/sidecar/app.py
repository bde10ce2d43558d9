"""How every sidecar starts, runs and stops.

A service says what it is with a :class:`Sidecar`, and how it is put together with its ``wire``
function, which returns a :class:`Program`. Everything around that is here, and the same for all.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from sidecar import logs
from sidecar.aws import Aws
from sidecar.clock import Clock, Stop, SystemClock
from sidecar.errors import EXIT_CRASH, SidecarError
from sidecar.health import Health
from sidecar.http import HttpServer, Route
from sidecar.loop import Pace, Tick, every
from sidecar.secrets import Secret, remember
from sidecar.settings import SidecarSettings
from sidecar.telemetry import Telemetry

if TYPE_CHECKING:
    import argparse

S = TypeVar("S", bound=SidecarSettings)
S_contra = TypeVar("S_contra", bound=SidecarSettings, contravariant=True)

_BEAT_SECONDS = 1.0
_EMF_SECONDS = 60.0
_READY_PERIODS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of ``X check``: what was looked at, how it is, and what to do when it is not right."""

    what: str
    verdict: Literal["ok", "warning", "problem"]
    why: str = ""
    remedy: str = ""


class Program(Protocol):
    """What a service gives the chassis. Built once per process, on the event loop."""

    async def run(self) -> int:
        """Work until ``runtime.stop`` is requested; return the exit code."""

    async def once(self) -> int:
        """Do the job once; return the exit code."""

    def check(self) -> AsyncIterator[Finding]:
        """Look at permissions and reachability, changing nothing."""


class Wire(Protocol[S_contra]):
    """Puts a service together from its settings."""

    def __call__(self, settings: S_contra, runtime: Runtime) -> Program:
        """Return the program; opens no connection yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[S]):
    """A subcommand of one service beside the common ones.

    Attributes:
        name: as typed.
        meaning: the help line.
        act: does it and returns the exit code. ``arguments`` are the parsed command-line arguments.
        add_arguments: declares them.
    """

    name: str
    meaning: str
    act: Callable[[S, Runtime, argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _parser: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar(Generic[S]):
    """A service, as the chassis sees it.

    Attributes:
        name: the console script, e.g. ``worker-scaler``; also its distribution.
        summary: one line for ``--help``.
        settings: its settings class.
        wire: puts it together.
        commands: its own subcommands.
        can_dry_run: whether ``--dry-run`` means something; it arrives as ``runtime.dry_run``.
        exit_codes: meanings beyond 0, 1 and 2, for ``--help``.
    """

    name: str
    summary: str
    settings: type[S]
    wire: Wire[S]
    commands: Sequence[Command[S]] = ()
    can_dry_run: bool = False
    exit_codes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a service may use of its process."""

    aws: Aws
    clock: Clock
    stop: Stop
    telemetry: Telemetry
    health: Health
    rng: random.Random
    environ: Mapping[str, str]
    dry_run: bool = False
    routes: dict[str, Route] = field(default_factory=dict)

    def route(self, path: str, route: Route) -> None:
        """Serve ``path`` on the HTTP port; call it from ``wire``."""
        self.routes[path] = route

    def secret(self, *, literal: str | None = None, secret_id: str | None = None) -> Secret:
        """Return a secret that is read from Secrets Manager when it has an id."""
        if literal:
            remember(literal)
        return Secret(literal=literal, secret_id=secret_id, read=self.aws.read_secret)

    async def every(self, pace: Pace, tick: Tick, *, wake: asyncio.Event | None = None) -> None:
        """Run ``tick`` at this pace until the order to stop; counts, logs and health included."""
        self.health.ready_when_fresher_than(_READY_PERIODS * pace.period_seconds + pace.deadline_seconds)
        listener = _Listener(self.telemetry, self.health)
        await every(pace, tick, clock=self.clock, stop=self.stop, listener=listener, rng=self.rng, wake=wake)


class _Listener:
    """Tells both the metrics and the health of each tick."""

    def __init__(self, telemetry: Telemetry, health: Health) -> None:
        self._telemetry = telemetry
        self._health = health

    def succeeded(self, duration_seconds: float) -> None:
        self._telemetry.succeeded(duration_seconds)
        self._health.succeeded()

    def failed(self, error: BaseException, *, in_a_row: int, duration_seconds: float) -> None:
        self._telemetry.failed(error, in_a_row=in_a_row, duration_seconds=duration_seconds)


def main(sidecar: Sidecar[Any], argv: Sequence[str] | None = None) -> int:
    """Run one sidecar's command line; return the process's exit code."""
    from sidecar import cli  # noqa: PLC0415 - cli builds on this module

    environ = os.environ  # noqa: TID251 - the one place where the environment enters
    return cli.main(sidecar, list(sys.argv[1:] if argv is None else argv), environ)


def build_runtime(
    sidecar: Sidecar[Any], settings: SidecarSettings, environ: Mapping[str, str], *, dry_run: bool
) -> Runtime:
    """Set up logging and return what the service may use."""
    version = installed_version(sidecar.name)
    logs.configure(service=sidecar.name, level=settings.log_level, log_format=settings.log_format)
    clock = SystemClock()
    return Runtime(
        aws=Aws(service=sidecar.name, version=version, region=environ.get("AWS_REGION")),
        clock=clock,
        stop=Stop(),
        telemetry=Telemetry(service=sidecar.name, version=version, clock=clock),
        health=Health(clock),
        rng=random.Random(),  # noqa: S311 - jitter, not cryptography
        environ=environ,
        dry_run=dry_run,
    )


def run(
    sidecar: Sidecar[Any], settings: SidecarSettings, runtime: Runtime, verb: Literal["run", "once"]
) -> int:
    """Run the program to its end and translate how it ended into an exit code."""
    try:
        code = asyncio.run(_supervise(sidecar, settings, runtime, verb))
    except SidecarError as err:
        runtime.telemetry.fatal(err)
        code = err.exit_code
    except Exception as err:  # noqa: BLE001 - the last place that can tell what happened
        runtime.telemetry.fatal(err)
        code = EXIT_CRASH
    runtime.telemetry.stopped(code)
    return code


async def _supervise(
    sidecar: Sidecar[Any], settings: SidecarSettings, runtime: Runtime, verb: Literal["run", "once"]
) -> int:
    loop = asyncio.get_running_loop()
    runtime.stop.bind(loop)
    _listen_for_signals(loop, runtime)
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
                aside.append(group.create_task(_write_emf(runtime), name="emf"))
            work.add_done_callback(lambda _: [task.cancel() for task in aside])
    except BaseExceptionGroup as errors:
        raise _first(errors) from None
    finally:
        if http is not None:
            http.stop()
    return EXIT_CRASH if work.cancelled() else work.result()


def _listen_for_signals(loop: asyncio.AbstractEventLoop, runtime: Runtime) -> None:
    """First signal: finish within the deadline. Second signal: end now."""

    def received(number: signal.Signals) -> None:
        if runtime.stop.requested:
            os._exit(128 + number)
        runtime.telemetry.stopping(number.name)
        runtime.stop.request(number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)


def _start_http(settings: SidecarSettings, runtime: Runtime) -> HttpServer | None:
    if settings.http_port == 0:
        return None
    http = HttpServer(
        host=settings.http_host, port=settings.http_port, telemetry=runtime.telemetry, health=runtime.health
    )
    for path, route in runtime.routes.items():
        http.route(path, route)
    http.start()
    runtime.telemetry.listening(settings.http_host, http.port)
    return http


async def _beat(runtime: Runtime) -> None:
    never = asyncio.Event()
    while True:
        runtime.health.beat()
        await runtime.clock.wait(_BEAT_SECONDS, never)


async def _write_emf(runtime: Runtime) -> None:
    while not runtime.stop.requested:
        await runtime.clock.wait(_EMF_SECONDS, runtime.stop.event)
        sys.stdout.write(runtime.telemetry.emf(runtime.clock.now()) + "\n")
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
