"""What one fleet needs now, and why. Pure: the world and the time come in, a plan goes out.

Four promises, each tested as a property:

1. ``desired`` is never set below the busy or unknown workers, and none of them is ever unprotected.
2. A failed or stale reading changes nothing; it only keeps protections alive.
3. Scale-out is immediate and exact.
4. Scale-in takes two readings that prove the same workers idle (see :mod:`worker_scaler.release`).

And at every moment in between no more workers are protected than ``desired``.
"""

from __future__ import annotations

import math
from datetime import datetime

from worker_scaler.decision import Decision, Numbers, Outcome, Why
from worker_scaler.memory import Memory, Sample
from worker_scaler.model import Fleet, Phase, QueueDepth, Reading, Sighting
from worker_scaler.occupancy import Occupancy, assess
from worker_scaler.outlook import NOTHING_EXPECTED, Outlook
from worker_scaler.protection import protections
from worker_scaler.release import obstacle, release
from worker_scaler.steps import SetDesired


def decide(
    fleet: Fleet,
    sighting: Sighting,
    reading: Reading | None,
    memory: Memory,
    *,
    now: datetime,
    outlook: Outlook = NOTHING_EXPECTED,
) -> Decision:
    """Choose the next steps for one fleet.

    Args:
        fleet: its policy.
        sighting: its ECS service, looked at *before* the reading was taken.
        reading: the queues; None when they could not be read.
        memory: what the last decision of this fleet returned; ``Memory()`` after a start.
        now: the scaler's time.
        outlook: what is expected to come; expected tasks count as demand.
    """
    if reading is None:
        return _hold(fleet, sighting, memory, Why.NO_READING, now=now)
    is_newer = memory.last_at is None or reading.taken_at > memory.last_at
    if not is_newer or abs(now - reading.taken_at) > fleet.reading_max_age:
        return _hold(fleet, sighting, memory, Why.STALE_READING, now=now)
    depth = reading.of(fleet.queues)
    expected = depth.demand + outlook.lead_demand_tasks
    sample = Sample(at=reading.taken_at, demand=expected)
    memory = memory.with_sample(sample, window=fleet.scale_in_window, gap=fleet.reading_max_age)
    occupancy = assess(fleet, sighting, depth, now=now)
    wanted = workers_for(fleet, expected)
    floor = max(occupancy.busy_or_unknown, sighting.protected(now))
    if max(wanted, floor) > sighting.desired:
        outcome = _scale_out(fleet, sighting, occupancy, depth, to=max(wanted, floor), now=now)
    else:
        outcome = _scale_in(fleet, sighting, occupancy, depth, memory, now=now)
    return Decision(
        steps=outcome.steps,
        why=outcome.why,
        numbers=_numbers(fleet, sighting, outcome, depth=depth, occupancy=occupancy, memory=memory, now=now),
        memory=memory.with_releasing(outcome.releasing),
        occupancy=occupancy,
    )


def workers_for(fleet: Fleet, demand: int) -> int:
    """Return exactly as many workers as ``demand`` tasks need, within the fleet's limits."""
    needed = math.ceil(demand / fleet.tasks_per_worker)
    return min(max(needed, fleet.min_workers), fleet.max_workers)


def _hold(fleet: Fleet, sighting: Sighting, memory: Memory, why: Why, *, now: datetime) -> Decision:
    """Change nothing. Whoever runs may be busy, so protections are kept and, where there is room, given."""
    numbers = Numbers(
        desired_before=sighting.desired,
        desired_after=sighting.desired,
        running_workers=sighting.count(Phase.RUNNING),
        pending_workers=sighting.count(Phase.PENDING),
        leaving_workers=sighting.count(Phase.LEAVING),
        unknown_workers=sighting.count(Phase.UNKNOWN),
        protected_workers=sighting.protected(now),
    )
    steps = protections(fleet, sighting, sighting.present, sighting.desired, now=now)
    return Decision(steps=steps, why=why, numbers=numbers, memory=memory.with_releasing(frozenset()))


def _scale_out(
    fleet: Fleet, sighting: Sighting, occupancy: Occupancy, depth: QueueDepth, *, to: int, now: datetime
) -> Outcome:
    """Raise desired at once, and protect everybody: first whom the old count has room for, then the rest."""
    if depth.demand > sighting.desired * fleet.tasks_per_worker and sighting.desired < fleet.max_workers:
        why = Why.BACKLOG
    else:
        why = Why.MINIMUM if sighting.desired < fleet.min_workers else Why.REPAIR
    workers = occupancy.busy_first(sighting.present)
    before = protections(fleet, sighting, workers, sighting.desired, now=now)
    after = protections(fleet, sighting, workers, to, now=now, already=before)
    raised = SetDesired(count=to, before=sighting.desired)
    return Outcome(steps=(*before, raised, *after), why=why, desired=to)


def _scale_in(
    fleet: Fleet,
    sighting: Sighting,
    occupancy: Occupancy,
    depth: QueueDepth,
    memory: Memory,
    *,
    now: datetime,
) -> Outcome:
    """Release surplus workers, or protect everybody and say what holds them."""
    desired = sighting.desired
    by_demand = workers_for(fleet, memory.peak)
    target = max(by_demand, occupancy.busy_or_unknown)
    has_surplus = target < max(desired, len(sighting.present))
    held_by = obstacle(fleet, sighting, occupancy, depth, memory)
    if has_surplus and held_by is None:
        return release(fleet, sighting, occupancy, memory, target=target, now=now)
    if target < desired and held_by is not None:
        why = held_by
    elif workers_for(fleet, depth.demand) >= desired:
        why = Why.STEADY
    else:
        why = Why.WINDOW if by_demand >= desired else Why.ALL_BUSY
    workers = occupancy.busy_first(sighting.present)
    return Outcome(steps=protections(fleet, sighting, workers, desired, now=now), why=why, desired=desired)


def _numbers(
    fleet: Fleet,
    sighting: Sighting,
    outcome: Outcome,
    *,
    depth: QueueDepth,
    occupancy: Occupancy,
    memory: Memory,
    now: datetime,
) -> Numbers:
    return Numbers(
        queued_tasks=depth.queued,
        running_tasks=depth.running,
        restarting_tasks=depth.restarting,
        demand_tasks=depth.demand,
        demand_peak_tasks=memory.peak,
        oldest_queued_age_seconds=depth.oldest_queued_age_seconds,
        wanted_workers=workers_for(fleet, depth.demand),
        desired_before=sighting.desired,
        desired_after=outcome.desired,
        running_workers=sighting.count(Phase.RUNNING),
        pending_workers=sighting.count(Phase.PENDING),
        leaving_workers=sighting.count(Phase.LEAVING),
        busy_workers=sum(1 for worker in sighting.present if worker.arn in occupancy.tasks),
        unknown_workers=sighting.count(Phase.UNKNOWN),
        protected_workers=sighting.protected(now),
        releasing_workers=len(outcome.releasing),
    )
