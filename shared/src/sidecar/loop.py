"""One way to do something again and again: jitter, a deadline per tick, backoff, two failure budgets.

Before the first success a service should fail loudly and soon, because nobody depends on it yet and
somebody is watching the deployment. After it, a service should hold what it has and keep trying.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from sidecar.clock import Clock, Stop
from sidecar.errors import ConfigError, SidecarError, Transient

Tick = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often, how long and how patiently.

    Attributes:
        period_seconds: from the start of one tick to the start of the next.
        deadline_seconds: a tick that takes longer is cancelled and counts as failed.
        jitter: the share of the period by which each pause is moved at random, so that a fleet of
            sidecars started together does not call AWS together.
        backoff_max_seconds: the longest pause after failures (they double from the period).
        failures_before_first_success: give up after this many; None never gives up.
        failures_after_success: the same once a tick has succeeded.
    """

    period_seconds: float
    deadline_seconds: float
    jitter: float = 0.1
    backoff_max_seconds: float = 60.0
    failures_before_first_success: int | None = 5
    failures_after_success: int | None = None


class Listener(Protocol):
    """Who is told how each tick went."""

    def succeeded(self, duration_seconds: float) -> None:
        """A tick ended well."""

    def failed(self, error: BaseException, *, in_a_row: int, duration_seconds: float) -> None:
        """A tick failed; ``in_a_row`` counts failures since the last success."""


def backoff_seconds(failures: int, *, base_seconds: float, cap_seconds: float, rng: random.Random) -> float:
    """Return a pause with equal jitter: uniform between half and all of ``min(base * 2^n, cap)``.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(cap_seconds, base_seconds * 2.0 ** min(max(failures - 1, 0), 30))
    return rng.uniform(ceiling / 2, ceiling)


async def every(
    pace: Pace,
    tick: Tick,
    *,
    clock: Clock,
    stop: Stop,
    listener: Listener,
    rng: random.Random,
    wake: asyncio.Event | None = None,
) -> None:
    """Call ``tick`` until the order to stop.

    A :class:`ConfigError` before the first success ends the loop at once. Setting ``wake`` starts the
    next tick now, also out of a backoff; the event is cleared when the tick starts.

    Raises:
        SidecarError: a failure budget is used up; the last failure.
    """
    failures = 0
    has_succeeded = False
    while not stop.requested:
        if wake is not None:
            wake.clear()
        started = clock.monotonic()
        error = await _attempt(tick, pace.deadline_seconds)
        duration = clock.monotonic() - started
        if error is None:
            failures, has_succeeded = 0, True
            listener.succeeded(duration)
            pause = pace.period_seconds * rng.uniform(1 - pace.jitter, 1 + pace.jitter) - duration
        else:
            failures += 1
            _give_up_when_spent(pace, error, failures=failures, has_succeeded=has_succeeded)
            listener.failed(error, in_a_row=failures, duration_seconds=duration)
            pause = backoff_seconds(
                failures, base_seconds=pace.period_seconds, cap_seconds=pace.backoff_max_seconds, rng=rng
            )
        await wait_any(clock, pause, stop.event, wake)


async def _attempt(tick: Tick, deadline_seconds: float) -> Exception | None:
    """Run one tick under its deadline; return what went wrong."""
    try:
        async with asyncio.timeout(deadline_seconds) as limit:
            await tick()
    except TimeoutError as err:
        if not limit.expired():
            return err
        return Transient(
            f"A cycle took longer than {deadline_seconds:g} s and was cancelled",
            why=str(err) or "something it waits for does not answer",
            remedy="It will be tried again",
        )
    except Exception as err:  # noqa: BLE001 - the one place that may catch everything: the loop survives
        return err
    return None


def _give_up_when_spent(pace: Pace, error: Exception, *, failures: int, has_succeeded: bool) -> None:
    if not has_succeeded and isinstance(error, ConfigError):
        raise error
    budget = pace.failures_after_success if has_succeeded else pace.failures_before_first_success
    if budget is None or failures < budget:
        return
    if isinstance(error, SidecarError):
        raise error
    raise SidecarError(f"Gave up after {failures} failures in a row", why=repr(error)) from error


async def wait_any(clock: Clock, seconds: float, *events: asyncio.Event | None) -> None:
    """Wait until one of ``events`` is set or ``seconds`` have passed."""
    watched = [event for event in events if event is not None]
    if len(watched) == 1:
        await clock.wait(seconds, watched[0])
        return
    any_set = asyncio.Event()

    async def relay(event: asyncio.Event) -> None:
        await event.wait()
        any_set.set()

    async with asyncio.TaskGroup() as group:
        relays = [group.create_task(relay(event)) for event in watched]
        await clock.wait(seconds, any_set)
        for task in relays:
            task.cancel()
