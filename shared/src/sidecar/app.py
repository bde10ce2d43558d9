"""What a sidecar is: the values and ports by which a service and the chassis know each other.

A service says what it is with a :class:`Sidecar`, and how it is put together with its ``wire``
function, which returns a :class:`Program`. What it may use of its process is its :class:`Runtime`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from sidecar.aws import Aws
from sidecar.clock import Clock, Stop
from sidecar.health import Health
from sidecar.http import Route
from sidecar.loop import Pace, Tick, every
from sidecar.secrets import Secret, remember
from sidecar.settings import SidecarSettings
from sidecar.telemetry import Telemetry

if TYPE_CHECKING:
    import argparse

S = TypeVar("S", bound=SidecarSettings)
S_contra = TypeVar("S_contra", bound=SidecarSettings, contravariant=True)

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
        once_flags: words that ``once`` understands as ``--<word>``, and what each means; those that were said
            arrive as ``runtime.flags``.
        exit_codes: meanings beyond 0, 1 and 2, for ``--help``.
    """

    name: str
    summary: str
    settings: type[S]
    wire: Wire[S]
    commands: Sequence[Command[S]] = ()
    can_dry_run: bool = False
    once_flags: Mapping[str, str] = field(default_factory=dict)
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
    flags: frozenset[str] = frozenset()
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
