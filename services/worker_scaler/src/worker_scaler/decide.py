"""What one fleet needs now, and why. Pure: the world and the time come in, a plan goes out.

Four promises, each tested as a property:

1. ``desired`` is never set below the busy or unknown workers, and none of them is ever unprotected.
2. A failed or stale reading lets nobody go; it keeps protections alive, and a count that has room for them.
3. Scale-out is immediate and exact.
4. Scale-in takes two readings that prove the same workers idle (see :mod:`worker_scaler.release`).

And at every moment in between no more workers are protected than ``desired``. The cost of a decision grows
with the number of workers times its logarithm (they are sorted), and with nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from worker_scaler import packing, trouble
from worker_scaler.decision import Decision, Numbers, Outcome, Why
from worker_scaler.freeze import in_force
from worker_scaler.limits import binding
from worker_scaler.memory import Memory, Sample
from worker_scaler.model import Fleet, Phase, Reading, Sighting
from worker_scaler.never_below import never_below
from worker_scaler.occupancy import assess
from worker_scaler.outlook import NOTHING_EXPECTED, Outlook
from worker_scaler.protection import protections
from worker_scaler.scale_in import scale_in
from worker_scaler.scale_out import floor_of, limit_step_out, scale_out
from worker_scaler.steps import SetDesired
from worker_scaler.view import View, expected_tasks, unbounded_workers_for, workers_for

__all__ = ["decide", "workers_for"]


def decide(
    fleet: Fleet,
    sighting: Sighting,
    reading: Reading | None,
    memory: Memory,
    *,
    now: datetime,
    outlook: Outlook = NOTHING_EXPECTED,
    is_paused: bool = False,
    chance: float = 0.5,
) -> Decision:
    """Choose the next steps for one fleet.

    Args:
        fleet: its policy.
        sighting: its ECS service, looked at *before* the reading was taken.
        reading: the queues; None when they could not be read.
        memory: what the last decision of this fleet returned; ``Memory()`` after a start.
        now: the scaler's time.
        outlook: what is expected to come; expected tasks count as demand.
        is_paused: whether a person told the scaler to change nothing.
        chance: a number in [0, 1) drawn for this decision; spreads pauses.
    """
    doubt = _why_not_believed(fleet, reading, memory, now=now)
    if is_paused:
        return hold(fleet, sighting, memory, Why.PAUSED, now=now, to=sighting.desired)
    if reading is None or doubt is not None:
        return hold(fleet, sighting, memory, doubt or Why.NO_READING, now=now)
    depth = reading.of(fleet.queues)
    if not reading.is_complete:
        return _trust_only_more(fleet, sighting, depth.demand, memory, now=now)
    expected = expected_tasks(depth, outlook)
    sample = Sample(at=reading.taken_at, demand=expected)
    view = View(
        fleet=fleet,
        sighting=sighting,
        depth=depth,
        occupancy=assess(fleet, sighting, depth, elsewhere=reading.hosts_outside(fleet.queues), now=now),
        memory=memory.with_sample(sample, window=fleet.scale_in_window, gap=fleet.reading_max_age),
        outlook=outlook,
        now=now,
        chance=chance,
    )
    found = trouble.find(fleet, sighting, outlook, now=now)
    if max(view.needed_by_now, floor_of(view)) > sighting.desired:
        outcome, backoff = scale_out(view, found)
    else:
        outcome, backoff = scale_in(view), None if found is None else memory.backoff
    bound = binding(
        reading.limits,
        scheduled_by_pool=depth.scheduled_by_pool,
        needed_workers=unbounded_workers_for(fleet, expected),
        max_workers=fleet.max_workers,
    )
    return Decision(
        steps=outcome.steps,
        why=outcome.why,
        numbers=_numbers(view, outcome),
        memory=replace(view.memory, releasing=outcome.releasing, backoff=backoff),
        occupancy=view.occupancy,
        bound=bound,
        trouble=found.text if found is not None else None,
        doubt=depth.doubt,
    )


def hold(
    fleet: Fleet, sighting: Sighting, memory: Memory, why: Why, *, now: datetime, to: int | None = None
) -> Decision:
    """Let nobody go. Whoever runs may be busy, so protections are kept and, where there is room, given.

    The count is set to ``to``; None raises it to what the protected workers need, which is told as a repair.
    """
    desired = sighting.desired
    if to is None:
        to = max(desired, never_below(fleet, sighting, now=now))
        why = Why.REPAIR if to > desired else why
    raised = (SetDesired(count=to, before=desired),) if to > desired else ()
    protects = protections(fleet, sighting, sighting.present, to, now=now)
    return Decision(
        steps=(*raised, *protects, *packing.everybody_to_work(sighting, now=now)),
        why=why,
        numbers=blind_numbers(sighting, to, now=now),
        memory=memory.with_releasing(frozenset()),
    )


def blind_numbers(sighting: Sighting, desired: int, *, now: datetime) -> Numbers:
    """Return what is known without a usable reading."""
    return Numbers(
        desired_before=sighting.desired,
        desired_after=desired,
        running_workers=sighting.count(Phase.RUNNING),
        pending_workers=sighting.count(Phase.PENDING),
        leaving_workers=sighting.count(Phase.LEAVING),
        unknown_workers=sighting.count(Phase.UNKNOWN),
        protected_workers=sighting.protected(now),
    )


def _why_not_believed(fleet: Fleet, reading: Reading | None, memory: Memory, *, now: datetime) -> Why | None:
    if reading is None:
        return Why.NO_READING
    is_newer = memory.last_at is None or reading.taken_at > memory.last_at
    if not is_newer or abs(now - reading.taken_at) > fleet.reading_max_age:
        return Why.STALE_READING
    return None


def _trust_only_more(
    fleet: Fleet, sighting: Sighting, demand: int, memory: Memory, *, now: datetime
) -> Decision:
    """Raise the count when an incomplete reading asks for it, else hold; who is busy is unknown."""
    held = hold(fleet, sighting, memory, Why.PARTIAL_READING, now=now)
    frozen = in_force(fleet.freezes, now)
    floor = held.numbers.desired_after
    to = limit_step_out(fleet, sighting, workers_for(fleet, demand), at_least=floor)
    found = trouble.find(fleet, sighting, NOTHING_EXPECTED, now=now)
    if to <= floor or found is not None or (frozen is not None and frozen.also_out):
        return replace(held, trouble=found.text if found is not None else None)
    raised = hold(fleet, sighting, memory, Why.BACKLOG, now=now, to=to)
    return replace(raised, numbers=replace(raised.numbers, demand_tasks=demand))


def _numbers(view: View, outcome: Outcome) -> Numbers:
    depth, sighting, occupancy = view.depth, view.sighting, view.occupancy
    return replace(
        blind_numbers(sighting, outcome.desired, now=view.now),
        queued_tasks=depth.queued,
        running_tasks=depth.running,
        restarting_tasks=depth.restarting,
        callbacks=depth.callbacks,
        admissible_tasks=depth.admissible,
        expected_tasks=view.outlook.lead_demand_tasks,
        demand_tasks=depth.demand,
        demand_peak_tasks=view.memory.peak,
        oldest_queued_age_seconds=depth.oldest_queued_age_seconds,
        wanted_workers=view.needed_by_now,
        busy_workers=sum(1 for worker in sighting.present if worker.arn in occupancy.tasks),
        cordoned_workers=packing.cordoned(view),
        silent_agents=len(occupancy.silent_agents),
        releasing_workers=len(outcome.releasing),
    )
