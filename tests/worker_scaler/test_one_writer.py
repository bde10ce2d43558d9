"""The tick under the lease: who writes, who stands by, and what a lease lost in the middle stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sidecar.errors import Transient
from worker_scaler.lease import FencedServices, LeaseLostError, NoLease, Standing, lease_lost
from worker_scaler.one_writer import OneWriter

from .fakes import fleet


class FakeLease:
    """A lease whose fate the test decides."""

    def __init__(self) -> None:
        self.is_ours = True
        self.is_silent = False

    def claim(self) -> Standing:
        if self.is_silent:
            raise Transient("the store does not answer")
        return Standing(is_writer=self.is_ours, holder="" if self.is_ours else "another", term=1)

    def check(self) -> None:
        if not self.is_ours:
            raise lease_lost("another copy has it")

    def release(self) -> None:
        self.is_ours = False


class Calls:
    """ECS's services, as a list of what they were asked."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def look_all(self, fleets: Any) -> dict[str, Any]:
        self.made.append("look")
        return {}

    def protect(self, fleet: Any, arns: Any, *, minutes: int) -> tuple[()]:
        self.made.append("protect")
        return ()

    def unprotect(self, fleet: Any, arns: Any) -> tuple[()]:
        self.made.append("unprotect")
        return ()

    def set_desired(self, fleet: Any, count: int) -> None:
        self.made.append("set_desired")


class Told:
    """Events and explanations that remember."""

    def __init__(self) -> None:
        self.standings: list[Standing] = []

    def standing(self, standing: Standing) -> None:
        self.standings.append(standing)


class Steering:
    """One fleet's tick: look, protect, lower; in between something may happen."""

    def __init__(self, services: FencedServices) -> None:
        self.services = services
        self.forgotten = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def tick(self) -> None:
        self.services.look_all([])
        self.services.protect(fleet(), ["a"], minutes=60)
        self.meanwhile()
        self.services.unprotect(fleet(), ["b"])
        self.services.set_desired(fleet(), 1)

    def forget(self) -> None:
        self.forgotten += 1


class Copy:
    """One copy of the scaler."""

    def __init__(self, lease: FakeLease | NoLease) -> None:
        self.calls, self.told = Calls(), Told()
        fence = FencedServices(self.calls, lease)
        self.steering = Steering(fence)
        self.writer = OneWriter(
            fence=fence,
            steering=self.steering,
            events=self.told,  # type: ignore[arg-type]  # it is told as events are
            explanations=self.told,  # type: ignore[arg-type]  # the same
        )


ALL = ["look", "protect", "unprotect", "set_desired"]


async def test_the_holder_of_the_lease_steers() -> None:
    copy = Copy(FakeLease())

    await copy.writer.tick()

    assert copy.calls.made == ALL
    assert copy.told.standings[-1].is_writer


async def test_a_copy_that_stands_by_calls_nobody_and_says_who_writes() -> None:
    lease = FakeLease()
    lease.is_ours = False
    copy = Copy(lease)

    await copy.writer.tick()

    assert copy.calls.made == []
    assert copy.told.standings[-1] == Standing(is_writer=False, holder="another", term=1)


async def test_a_writer_that_loses_its_lease_in_the_middle_of_a_tick_makes_no_further_call() -> None:
    lease = FakeLease()
    copy = Copy(lease)
    copy.steering.meanwhile = lease.release

    with pytest.raises(LeaseLostError):
        await copy.writer.tick()

    assert copy.calls.made == ["look", "protect"]


async def test_a_lease_that_comes_back_does_not_revive_the_tick_that_lost_it() -> None:
    lease = FakeLease()
    copy = Copy(lease)

    def lost_and_back() -> None:
        lease.is_ours = False
        with pytest.raises(LeaseLostError):
            copy.steering.services.check()
        lease.is_ours = True

    copy.steering.meanwhile = lost_and_back
    with pytest.raises(LeaseLostError, match="earlier in this tick"):
        await copy.writer.tick()

    copy.steering.meanwhile = lambda: None
    await copy.writer.tick()
    assert copy.calls.made == ["look", "protect", *ALL]


async def test_a_store_that_does_not_answer_makes_the_copy_read_only() -> None:
    lease = FakeLease()
    copy = Copy(lease)
    lease.is_silent = True

    with pytest.raises(Transient, match="does not answer"):
        await copy.writer.tick()

    assert copy.calls.made == []


async def test_what_was_seen_before_another_copy_wrote_is_forgotten() -> None:
    lease = FakeLease()
    copy = Copy(lease)
    await copy.writer.tick()
    await copy.writer.tick()
    assert copy.steering.forgotten == 1  # at its first tick as a writer

    lease.is_ours = False
    await copy.writer.tick()
    lease.is_ours = True
    await copy.writer.tick()

    assert copy.steering.forgotten == 3


async def test_without_a_lease_the_only_copy_always_steers() -> None:
    copy = Copy(NoLease())

    await copy.writer.tick()

    assert copy.calls.made == ALL
