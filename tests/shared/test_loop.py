from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, strategies as st

from sidecar.clock import Stop, SystemClock
from sidecar.errors import ConfigError, SidecarError, Transient
from sidecar.loop import Pace, backoff_seconds, every
from sidecar.testing.fake_clock import FakeClock

RNG = random.Random(1)  # noqa: S311 - jitter, not cryptography
PACE = Pace(period_seconds=10, deadline_seconds=5, jitter=0.0)


class Heard:
    def __init__(self) -> None:
        self.told: list[str] = []

    def succeeded(self, _duration_seconds: float) -> None:
        self.told.append("ok")

    def failed(self, error: BaseException, *, in_a_row: int, duration_seconds: float) -> None:
        assert duration_seconds >= 0
        self.told.append(f"{type(error).__name__} {in_a_row}")


class Script:
    """Ticks that follow a script of errors (None = success), then request the stop."""

    def __init__(self, stop: Stop, *errors: Exception | None) -> None:
        self.stop = stop
        self.errors = list(errors)

    async def __call__(self) -> None:
        error = self.errors.pop(0)
        if not self.errors:
            self.stop.request("end of the script")
        if error:
            raise error


async def play(*errors: Exception | None, pace: Pace = PACE) -> tuple[Heard, FakeClock]:
    stop, clock, heard = Stop(), FakeClock(), Heard()
    await every(pace, Script(stop, *errors), clock=clock, stop=stop, listener=heard, rng=RNG)
    return heard, clock


async def test_a_tick_comes_every_period() -> None:
    _, clock = await play(None, None, None)

    assert clock.waits == [10, 10]


async def test_failures_back_off_and_success_resets() -> None:
    bad = Transient("down")

    heard, clock = await play(None, bad, bad, bad, None, None)

    assert heard.told == ["ok", "Transient 1", "Transient 2", "Transient 3", "ok", "ok"]
    assert 5 <= clock.waits[1] <= 10 <= clock.waits[2] <= 20 <= clock.waits[3] <= 40
    assert clock.waits[4] == 10


async def test_before_the_first_success_the_budget_is_short() -> None:
    with pytest.raises(Transient, match="down"):
        await play(*[Transient("down")] * 9)


async def test_after_the_first_success_it_never_gives_up() -> None:
    heard, _ = await play(None, *[Transient("down")] * 20, None)

    assert heard.told[-1] == "ok"


async def test_wrong_configuration_ends_a_start_at_once() -> None:
    with pytest.raises(ConfigError):
        await play(ConfigError("no such bucket"), None)


async def test_wrong_configuration_later_is_survived() -> None:
    heard, _ = await play(None, ConfigError("bucket deleted by hand"), None)

    assert heard.told == ["ok", "ConfigError 1", "ok"]


async def test_an_unexpected_error_does_not_end_the_loop() -> None:
    heard, _ = await play(ZeroDivisionError(), None)

    assert heard.told == ["ZeroDivisionError 1", "ok"]


async def test_a_spent_budget_names_an_unexpected_error() -> None:
    with pytest.raises(SidecarError, match=r"Gave up after 5.*ZeroDivision"):
        await play(*[ZeroDivisionError()] * 9)


async def test_a_tick_that_hangs_is_cancelled_at_its_deadline() -> None:
    stop, heard = Stop(), Heard()

    async def hang() -> None:
        stop.request("once is enough")
        await asyncio.Event().wait()

    pace = Pace(period_seconds=1, deadline_seconds=0.01)
    await every(pace, hang, clock=FakeClock(), stop=stop, listener=heard, rng=RNG)

    assert heard.told == ["Transient 1"]


async def test_a_timeout_that_is_the_ticks_own_is_not_called_the_deadline() -> None:
    with pytest.raises(SidecarError, match="TimeoutError") as caught:
        await play(*[TimeoutError("of a socket")] * 9)

    assert "cancelled" not in str(caught.value)


def real_clock_loop(stop: Stop, tick: Callable[[], Awaitable[None]], wake: asyncio.Event) -> Awaitable[None]:
    pace = Pace(period_seconds=3600, deadline_seconds=5)
    return every(pace, tick, clock=SystemClock(), stop=stop, listener=Heard(), rng=RNG, wake=wake)


async def test_a_wake_starts_the_next_tick_now_and_a_stop_ends_the_pause_now() -> None:
    stop, wake, ticks = Stop(), asyncio.Event(), []

    async def tick() -> None:
        ticks.append(1)
        loop = asyncio.get_running_loop()
        loop.call_soon(wake.set if len(ticks) == 1 else lambda: stop.request("test"))

    async with asyncio.timeout(5):
        await real_clock_loop(stop, tick, wake)

    assert len(ticks) == 2


@given(st.integers(1, 10_000), st.floats(0.01, 100), st.floats(0.01, 1000), st.randoms(use_true_random=False))
def test_backoff_stays_under_its_cap_and_above_nothing(
    failures: int, base: float, cap: float, rng: random.Random
) -> None:
    pause = backoff_seconds(failures, base_seconds=base, cap_seconds=cap, rng=rng)

    assert 0 < pause <= cap
