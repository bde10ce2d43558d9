"""The decision about one fleet, as properties and as a table of the tricky cases."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from worker_scaler.decide import decide
from worker_scaler.decision import Decision, Why
from worker_scaler.memory import Memory, Sample
from worker_scaler.model import Fleet, Phase, QueueDepth, Reading, Sighting, Worker
from worker_scaler.steps import Protect, SetDesired, Unprotect

from .fakes import MANY_MINUTES, NOON, arn, fleet, host, reading, sighting, worker

A_TICK = timedelta(seconds=10)


@st.composite
def workers_strategy(draw: st.DrawFn) -> tuple[Worker, ...]:
    made = []
    for number in range(1, draw(st.integers(0, 14)) + 1):
        phase = draw(st.sampled_from(Phase))
        until = draw(st.sampled_from([None, NOON - A_TICK, NOON + timedelta(minutes=9), NOON + MANY_MINUTES]))
        age = timedelta(seconds=draw(st.sampled_from([0, 30, 3600])))
        made.append(
            worker(
                number,
                phase,
                protected_until=until if phase is Phase.RUNNING else None,
                started_at=None if phase is Phase.PENDING else NOON - age,
            )
        )
    return tuple(made)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    low = draw(st.integers(0, 4))
    return fleet(
        tasks_per_worker=draw(st.integers(1, 5)),
        min_workers=low,
        max_workers=low + draw(st.integers(0, 8)),
        scale_in_window=timedelta(seconds=draw(st.sampled_from([0, 30]))),
        minimum_age=timedelta(seconds=draw(st.sampled_from([0, 60]))),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Fleet, Sighting, Reading, Memory]:
    """Any service, any queue (busy hosts known and unknown), any memory."""
    seen = draw(workers_strategy())
    names = st.sampled_from([*(one.addresses[0] for one in seen), "10.9.9.9", ""])
    busy = draw(st.dictionaries(names, st.integers(1, 3), max_size=6))
    read = reading(draw(st.integers(0, 30)), busy)
    past = draw(st.lists(st.integers(0, 60), max_size=5))
    memory = Memory(
        since=NOON - timedelta(seconds=draw(st.sampled_from([10, 3600]))) if past else None,
        samples=tuple(Sample(at=NOON - A_TICK * (len(past) - i), demand=d) for i, d in enumerate(past)),
        releasing=frozenset(draw(st.sets(st.sampled_from([one.arn for one in seen]))))
        if seen
        else frozenset(),
    )
    look = sighting(draw(st.integers(0, 16)), *seen, is_deploying=draw(st.booleans()))
    return draw(fleets()), look, read, memory


def busy_arns(look: Sighting, read: Reading) -> set[str]:
    hosts = read.of(["heavy"]).busy_hosts
    return {one.arn for one in look.present if one.addresses[0] in hosts or one.phase is Phase.UNKNOWN}


def unprotected_by(decision: Decision) -> set[str]:
    return {one for step in decision.steps if isinstance(step, Unprotect) for one in step.arns}


@given(cases())
def test_desired_is_never_set_below_the_busy_or_unknown_workers(
    case: tuple[Fleet, Sighting, Reading, Memory],
) -> None:
    policy, look, read, memory = case
    got = decide(policy, look, read, memory, now=NOON)

    busy = sum(
        1 for one in look.present if one.phase is not Phase.UNKNOWN and one.arn in busy_arns(look, read)
    )
    held = len(busy_arns(look, read))
    # Unknown workers keep a count where it is, and raise it up to the maximum only.
    assert got.numbers.desired_after >= max(busy, min(held, max(look.desired, policy.max_workers)))
    for step in got.steps:
        if isinstance(step, SetDesired) and step.count < step.before:
            assert step.count >= held


@given(cases())
def test_a_busy_or_unknown_worker_is_never_unprotected(
    case: tuple[Fleet, Sighting, Reading, Memory],
) -> None:
    policy, look, read, memory = case
    assert not unprotected_by(decide(policy, look, read, memory, now=NOON)) & busy_arns(look, read)


@given(cases())
def test_lowering_exposes_only_workers_that_were_proven_idle_twice(
    case: tuple[Fleet, Sighting, Reading, Memory],
) -> None:
    policy, look, read, memory = case
    got = decide(policy, look, read, memory, now=NOON)

    if got.numbers.desired_after < look.desired:
        depth = read.of(["heavy"])
        exposed = {
            one.arn for one in look.present if one.phase is not Phase.PENDING and not one.is_protected(NOON)
        }
        assert depth.queued == 0
        assert exposed <= memory.releasing
        assert not exposed & busy_arns(look, read)
        assert not unprotected_by(got)
        starting = {one.arn for one in look.present if one.phase is Phase.PENDING}
        never_started = max(0, look.desired - len(look.present))
        lowered = look.desired - got.numbers.desired_after
        assert lowered <= len(exposed) + len(starting & memory.releasing) + never_started


@given(cases())
def test_at_no_step_are_more_workers_protected_than_desired(
    case: tuple[Fleet, Sighting, Reading, Memory],
) -> None:
    policy, look, read, memory = case
    protected = {one.arn for one in look.present if one.counts_as_protected(NOON)}
    desired, was_fine = look.desired, len(protected) <= look.desired
    for step in decide(policy, look, read, memory, now=NOON).steps:
        if isinstance(step, Protect):
            assert len(step.arns) <= 10
            protected |= set(step.arns)
        elif isinstance(step, Unprotect):
            assert len(step.arns) <= 10
            protected -= set(step.arns)
        elif isinstance(step, SetDesired):
            desired = step.count
        was_fine = was_fine or len(protected) <= desired
        assert len(protected) <= desired or not was_fine
    surely = protected - {one.arn for one in look.present if one.phase is Phase.UNKNOWN}
    assert len(surely) <= desired


@given(cases())
def test_scale_out_is_immediate_and_exact(case: tuple[Fleet, Sighting, Reading, Memory]) -> None:
    policy, look, read, memory = case
    got = decide(policy, look, read, memory, now=NOON)

    demand = read.of(["heavy"]).demand
    exact = min(max(math.ceil(demand / policy.tasks_per_worker), policy.min_workers), policy.max_workers)
    assert got.numbers.desired_after >= exact
    if exact > look.desired and exact >= len(look.present):
        assert got.numbers.desired_after == exact
    assert sum(isinstance(step, SetDesired) for step in got.steps) <= 1


@given(cases(), st.sampled_from(["none", "old", "future", "repeated"]))
def test_a_missing_or_stale_reading_lets_nobody_go_and_only_repairs(
    case: tuple[Fleet, Sighting, Reading, Memory], kind: str
) -> None:
    policy, look, read, memory = case
    at = {"old": NOON - timedelta(minutes=5), "future": NOON + timedelta(minutes=5)}.get(kind, NOON)
    given_reading = None if kind == "none" else Reading(taken_at=at, queues=read.queues)
    if kind == "repeated":
        memory = Memory(since=NOON, samples=(Sample(at=NOON, demand=0),), releasing=memory.releasing)

    got = decide(policy, look, given_reading, memory, now=NOON)

    protected = sum(1 for one in look.present if one.is_protected(NOON))
    assert got.numbers.desired_after >= max(look.desired, protected)
    assert got.numbers.desired_after <= max(look.desired, look.protected(NOON))
    assert all(isinstance(step, Protect | SetDesired) for step in got.steps)
    is_repaired = got.numbers.desired_after > look.desired
    assert got.why in ((Why.REPAIR,) if is_repaired else (Why.NO_READING, Why.STALE_READING))
    assert got.numbers.demand_tasks is None
    assert got.memory.samples == memory.samples


@given(cases())
def test_every_running_worker_that_is_not_let_go_is_protected_where_there_is_room(
    case: tuple[Fleet, Sighting, Reading, Memory],
) -> None:
    policy, look, read, memory = case
    got = decide(policy, look, read, memory, now=NOON)

    asked = {one for step in got.steps if isinstance(step, Protect) for one in step.arns}
    kept = [one for one in look.present if one.phase is not Phase.PENDING]
    safe = [one for one in kept if one.counts_as_protected(NOON) or one.arn in asked]
    exposed = [one.arn for one in kept if one not in safe and one.arn not in got.memory.releasing]
    has_room = look.protected(NOON) + len(asked) < got.numbers.desired_after
    assert not exposed or not has_room


# ---------------------------------------------------------------- the tricky cases, one by one


def test_from_zero_to_the_exact_count_in_one_step() -> None:
    got = decide(fleet(tasks_per_worker=16), sighting(0), reading(33), Memory(), now=NOON)

    assert got.steps == (SetDesired(count=3, before=0),)
    assert got.why is Why.BACKLOG


def test_restarting_tasks_are_demand_and_their_hosts_are_busy() -> None:
    got = decide(
        fleet(tasks_per_worker=1),
        sighting(1, worker(1)),
        reading(0, {host(1): 2}, restarting=1),
        Memory(),
        now=NOON,
    )

    assert got.numbers.restarting_tasks == 1
    assert got.numbers.desired_after == 2


def test_many_workers_with_one_long_task_each_all_stay_above_the_maximum() -> None:
    seen = [worker(number) for number in range(1, 8)]
    busy = {host(number): 1 for number in range(1, 8)}

    got = decide(
        fleet(tasks_per_worker=16, max_workers=2), sighting(7, *seen), reading(0, busy), Memory(), now=NOON
    )

    assert (got.steps, got.why, got.numbers.desired_after) == ((), Why.ALL_BUSY, 7)


def test_a_count_lowered_by_somebody_else_is_repaired_before_anything_is_protected() -> None:
    seen = [worker(number) for number in (1, 2, 3)]

    got = decide(fleet(), sighting(1, *seen), reading(0, {host(1): 1}), Memory(), now=NOON)

    assert got.steps == (SetDesired(count=3, before=1),)
    assert got.why is Why.REPAIR


def test_the_count_is_raised_before_anybody_is_protected() -> None:
    seen = [worker(number, protected=False) for number in (1, 2, 3)]
    busy = {host(3): 1, host(2): 1, host(1): 1}

    got = decide(fleet(tasks_per_worker=1), sighting(2, *seen), reading(0, busy), Memory(), now=NOON)

    assert got.steps == (
        SetDesired(count=3, before=2),
        Protect(arns=(arn(1), arn(2), arn(3)), minutes=60),
    )


def test_a_new_worker_is_protected_at_first_sight() -> None:
    got = decide(fleet(), sighting(2, worker(1), worker(2, protected=False)), reading(4), Memory(), now=NOON)

    assert got.steps == (Protect(arns=(arn(2),), minutes=60),)


def test_a_protection_is_renewed_at_half_its_time() -> None:
    young = worker(1, protected_until=NOON + timedelta(minutes=31))
    due = worker(2, protected_until=NOON + timedelta(minutes=29))

    got = decide(fleet(), sighting(2, young, due), reading(4), Memory(), now=NOON)

    assert got.steps == (Protect(arns=(arn(2),), minutes=60),)


def test_protection_goes_in_calls_of_ten() -> None:
    seen = [worker(number, protected=False) for number in range(1, 13)]

    got = decide(fleet(), sighting(12, *seen), reading(24), Memory(), now=NOON)

    assert [len(step.arns) for step in got.steps if isinstance(step, Protect)] == [10, 2]


def test_protections_are_kept_alive_while_the_database_is_down() -> None:
    due = worker(1, protected_until=NOON + timedelta(minutes=1))

    got = decide(fleet(), sighting(1, due), None, Memory(), now=NOON)

    assert got.steps == (Protect(arns=(arn(1),), minutes=60),)


@pytest.mark.parametrize(
    ("look", "read", "policy", "why"),
    [
        (sighting(2, worker(1), worker(2)), reading(0, {"10.9.9.9": 1}), fleet(), Why.UNMATCHED_HOST),
        (sighting(2, worker(1), worker(2, Phase.UNKNOWN)), reading(), fleet(), Why.UNKNOWN_WORKER),
        (sighting(2, worker(1), worker(2), is_deploying=True), reading(), fleet(), Why.DEPLOYING),
        (sighting(2, worker(1), worker(2)), reading(1), fleet(), Why.TASKS_QUEUED),
        (sighting(2, worker(1), worker(2)), reading(), fleet(scale_in_window=A_TICK), Why.WINDOW),
        (sighting(1, worker(1)), reading(), fleet(minimum_age=timedelta(hours=2)), Why.ALL_BUSY),
        (sighting(1, worker(1)), reading(0, {host(1): 2}), fleet(), Why.STEADY),
    ],
)
def test_what_holds_a_surplus_is_said(look: Sighting, read: Reading, policy: Fleet, why: Why) -> None:
    got = decide(policy, look, read, Memory(), now=NOON)

    assert got.why is why
    assert all(isinstance(step, Protect) for step in got.steps)


def test_a_busy_host_that_belongs_to_a_stopped_worker_holds_nothing_up() -> None:
    gone = worker(9, Phase.STOPPED)

    got = decide(
        fleet(), sighting(2, worker(1), worker(2), gone), reading(0, {host(9): 1}), Memory(), now=NOON
    )

    assert got.why is Why.RELEASING


def test_only_the_queues_of_the_fleet_are_its_demand() -> None:
    other = Reading(taken_at=NOON, queues={"light": QueueDepth(queued=50)})

    got = decide(fleet(), sighting(0), other, Memory(), now=NOON)

    assert (got.steps, got.why) == ((), Why.STEADY)
    assert other.orphans(["heavy"]) == {"light": 50}
