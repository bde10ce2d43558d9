"""What the policies without queues share: set a count, hold it, and say so. Pure.

They steer services whose tasks are not protected by us (schedulers, a web server): ECS may stop any of them,
so they are never lowered for want of proof, only because somebody wrote so.
"""

from __future__ import annotations

from worker_scaler import trouble
from worker_scaler.decide import blind_numbers
from worker_scaler.decision import Decision, Why
from worker_scaler.freeze import in_force
from worker_scaler.policies import Case
from worker_scaler.steps import SetDesired


def set_count(case: Case, count: int, why: Why) -> Decision:
    """Set the count, unless it is so already or something holds it."""
    before = case.sighting.desired
    found = trouble.find(case.fleet, case.sighting, case.outlook, now=case.now)
    held_by = _held_by(case, is_more=count > before)
    if count == before or held_by is not None:
        why, count = held_by if count != before and held_by is not None else Why.STEADY, before
    return Decision(
        steps=() if count == before else (SetDesired(count=count, before=before),),
        why=why,
        numbers=blind_numbers(case.sighting, count, now=case.now),
        memory=case.memory,
        trouble=found.text if found is not None else None,
    )


def _held_by(case: Case, *, is_more: bool) -> Why | None:
    if case.is_paused:
        return Why.PAUSED
    frozen = in_force(case.fleet.freezes, case.now)
    if frozen is not None and (frozen.also_out or not is_more):
        return Why.FROZEN
    return None
