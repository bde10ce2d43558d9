"""Every decision can be read, and taken again from what it was taken from."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import given, strategies as st

from sidecar.errors import Transient
from worker_scaler.decision import Why
from worker_scaler.explain import Explanations, rebuild
from worker_scaler.freeze import Freeze
from worker_scaler.memory import Memory, Sample
from worker_scaler.model import Packing
from worker_scaler.outlook import Outlook
from worker_scaler.policies import Case
from worker_scaler.policies.queue import QueuePolicy

from .fakes import NOON, World, fleet, host, reading, sighting, worker


def a_case(*, busy: int, queued: int, has_agents: bool, desired: int) -> Case:
    world = World()
    world.has_agents = has_agents
    for number in range(4):
        world.start(tasks=1 if number < busy else 0, protected=number % 2 == 0)
    world.desired, world.queued = desired, queued
    return Case(
        fleet=fleet(
            agent_port=9465 if has_agents else None,
            packing=Packing(headroom_tasks=1) if has_agents else None,
            freezes=(Freeze(cron="0 0 * * 0", time_zone="UTC", duration=timedelta(hours=1)),),
        ),
        sighting=world.look(),
        reading=world.read(),
        memory=Memory(
            since=NOON - timedelta(minutes=5),
            samples=(Sample(at=NOON - timedelta(seconds=10), demand=3),),
            releasing=frozenset(sorted(world.workers)[-1:]),
        ),
        outlook=Outlook(lead_demand_tasks=1, remaining_seconds_by_arn={min(world.workers): 4.5}),
        now=NOON,
        is_paused=False,
        chance=0.25,
    )


@given(busy=st.integers(0, 4), queued=st.integers(0, 9), has_agents=st.booleans(), desired=st.integers(0, 6))
def test_a_decision_can_be_taken_again_from_its_record(
    busy: int, queued: int, has_agents: bool, desired: int
) -> None:
    case = a_case(busy=busy, queued=queued, has_agents=has_agents, desired=desired)
    decision = QueuePolicy().decide(case)
    kept = Explanations(dry_run=False)
    kept.decided(case, decision)

    (document,) = json.loads(kept.replay().body).values()

    assert QueuePolicy().decide(rebuild(document)) == decision


def explained(kept: Explanations) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(kept.answer().body)
    return document


def test_a_record_says_what_was_seen_which_rule_decided_and_what_held_it() -> None:
    case = Case(
        fleet=fleet(),
        sighting=sighting(2, worker(1), worker(2)),
        reading=reading(0, {host(1): 1, "vm": 1}),
        memory=Memory(),
        outlook=Outlook(),
        now=NOON,
        is_paused=False,
        chance=0.5,
    )
    kept = Explanations(dry_run=True)
    kept.decided(case, QueuePolicy().decide(case))
    kept.orphans({"nobody": 2})

    document = explained(kept)

    assert document["dry_run"] is True
    assert document["orphan_queues"] == {"nobody": 2}
    record = document["fleets"]["heavy"]
    assert record["why"] in {why.value for why in Why}
    assert record["meaning"]
    assert (record["desired_before"], record["desired_after"]) == (2, 2)
    assert record["unmatched_hosts"] == ["vm"]
    assert record["busy_workers_tasks"] == {worker(1).arn: 1}
    assert record["bound"] is None


def test_a_failure_is_shown_beside_the_last_decision() -> None:
    kept = Explanations(dry_run=False)
    kept.failed("heavy", Transient("ECS does not answer"))

    assert explained(kept)["fleets"]["heavy"] == {"failure": "ECS does not answer"}


def test_every_reason_has_a_meaning() -> None:
    assert all(why.meaning for why in Why)
