"""What one fleet needs now, and why. Pure: the world and the time come in, a plan goes out.

Four promises, each tested as a property:

1. ``desired`` is never set below the busy or unknown workers, and none of them is ever unprotected.
2. A failed or stale reading changes nothing; it only keeps protections alive.
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
from worker_scaler.memory import Backoff, Memory, Sample
from worker_scaler.model import Fleet, Phase, Reading, Sighting
from worker_scaler.occupancy import assess
from worker_scaler.outlook import NOTHING_EXPECTED, Outlook
from worker_scaler.protection import protections
from worker_scaler.release import LASTING, obstacle, release
from worker_scaler.steps import SetDesired, Step
from worker_scaler.trouble import Trouble
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
    if reading is None or doubt is not None or is_paused:
        return hold(fleet, sighting, memory, Why.PAUSED if is_paused else doubt or Why.NO_READING, now=now)
    depth = reading.of(fleet.queues)
    if not reading.is_complete:
        return _trust_only_more(fleet, sighting, depth.demand, memory, now=now)
    expected = expected_tasks(depth, outlook)
    sample = Sample(at=reading.taken_at, demand=expected)
    view = View(
        fleet=fleet,
        sighting=sighting,
        depth=depth,
        occupancy=assess(fleet, sighting, depth, now=now),
        memory=memory.with_sample(sample, window=fleet.scale_in_window, gap=fleet.reading_max_age),
        outlook=outlook,
        now=now,
        chance=chance,
    )
    found = trouble.find(fleet, sighting, outlook, now=now)
    if max(view.needed_by_now, _floor(view)) > sighting.desired:
        outcome, backoff = _scale_out(view, found)
    else:
        outcome, backoff = _scale_in(view), None if found is None else memory.backoff
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


def hold(fleet: Fleet, sighting: Sighting, memory: Memory, why: Why, *, now: datetime) -> Decision:
    """Change nothing. Whoever runs may be busy, so protections are kept and, where there is room, given."""
    steps = protections(fleet, sighting, sighting.present, sighting.desired, now=now)
    return Decision(
        steps=(*steps, *packing.everybody_to_work(sighting, now=now)),
        why=why,
        numbers=blind_numbers(sighting, sighting.desired, now=now),
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
    to = _limit_step_out(fleet, sighting, workers_for(fleet, demand), at_least=sighting.desired)
    if to <= sighting.desired or (frozen is not None and frozen.also_out):
        return held
    raised = SetDesired(count=to, before=sighting.desired)
    after = protections(fleet, sighting, sighting.present, to, now=now, already=held.steps)
    return replace(
        held,
        steps=(*held.steps, raised, *after),
        why=Why.BACKLOG,
        numbers=replace(blind_numbers(sighting, to, now=now), demand_tasks=demand),
    )


def _floor(view: View) -> int:
    """Return what the count must never be below, whatever the limits."""
    return max(view.occupancy.busy_or_unknown, view.sighting.protected(view.now))


def _scale_out(view: View, found: Trouble | None) -> tuple[Outcome, Backoff | None]:
    """Raise desired at once, and protect everybody: first whom the old count has room for, then the rest."""
    fleet, sighting, desired = view.fleet, view.sighting, view.sighting.desired
    floor = max(_floor(view), desired)
    to = _limit_step_out(fleet, sighting, max(view.needed_by_now, floor), at_least=floor)
    held_by, backoff = _held_back(view, found, is_wish=to > floor)
    if held_by is not None:
        to = floor
    workers = view.occupancy.busy_first(sighting.present)
    before = protections(fleet, sighting, workers, desired, now=view.now)
    working = packing.everybody(view) if fleet.packing is None else _working(view, target=to, held_by=None)
    to_work, to_cordon = packing.orders(view, working)
    steps: tuple[Step, ...] = (*before, *to_work)
    if to > desired:
        after = protections(fleet, sighting, workers, to, now=view.now, already=before)
        steps = (*steps, SetDesired(count=to, before=desired), *after)
    steps = (*steps, *to_cordon)
    return Outcome(steps=steps, why=held_by or _why_raised(view), desired=to), backoff


def _why_raised(view: View) -> Why:
    fleet, desired = view.fleet, view.sighting.desired
    if desired < fleet.max_workers and view.expected_tasks > desired * fleet.tasks_per_worker:
        is_here = view.depth.demand > desired * fleet.tasks_per_worker
        return Why.BACKLOG if is_here else Why.EXPECTED
    return Why.MINIMUM if desired < fleet.min_workers else Why.REPAIR


def _held_back(view: View, found: Trouble | None, *, is_wish: bool) -> tuple[Why | None, Backoff | None]:
    """Say why the count is not raised for demand, and when it is tried again."""
    frozen = in_force(view.fleet.freezes, view.now)
    backoff = view.memory.backoff if found is not None else None
    if not is_wish:
        return None, backoff
    if frozen is not None and frozen.also_out:
        return Why.FROZEN, backoff
    if found is None:
        return None, None
    if found.why is Why.DEPLOYMENT_FAILED:
        return found.why, backoff  # ECS starts nothing for it, however often it is asked
    if backoff is not None and view.now < backoff.until:
        return found.why, backoff
    pause = trouble.next_backoff(view.fleet, backoff, now=view.now, chance=view.chance)
    return (found.why if backoff is None else None), pause


def _limit_step_out(fleet: Fleet, sighting: Sighting, to: int, *, at_least: int) -> int:
    if fleet.max_step_out is None:
        return to
    return max(min(to, sighting.desired + fleet.max_step_out), at_least)


def _scale_in(view: View) -> Outcome:
    """Release surplus workers, or protect everybody and say what holds them."""
    sighting, desired = view.sighting, view.sighting.desired
    busy = view.occupancy.busy_or_unknown
    target = max(view.needed_by_window, busy)
    held_by = obstacle(view)
    working = _working(view, target=target, held_by=held_by)
    to_work, to_cordon = packing.orders(view, working)
    needed = max(view.needed_by_now, busy) if view.has_agents else target
    spare = len(sighting.present) - needed
    has_surplus = needed < max(desired, len(sighting.present))
    may_prepare = held_by is None or held_by is Why.DEPLOYING or (view.has_agents and held_by not in LASTING)
    if has_surplus and may_prepare:
        outcome = release(view, target=target, spare=spare, working=working, held_by=held_by)
    else:
        workers = view.occupancy.busy_first(sighting.present)
        steps = protections(view.fleet, sighting, workers, desired, now=view.now)
        outcome = Outcome(steps=steps, why=_why_kept(view, target, held_by), desired=desired)
    return replace(outcome, steps=(*to_work, *outcome.steps, *to_cordon))


def _working(view: View, *, target: int, held_by: Why | None) -> frozenset[str]:
    """Choose who is to take messages, among those that can be told: all, unless a surplus may be prepared."""
    if not view.has_agents:
        return frozenset()
    if held_by in LASTING:
        return packing.everybody(view)
    waiting = view.depth.in_flight + view.depth.admissible + view.outlook.imminent_tasks
    if view.fleet.packing is None:
        if held_by is not None and held_by is not Why.DEPLOYING:
            return packing.everybody(view)
        return packing.keep_working(view, workers=target, free_tasks=waiting)
    is_going = held_by is None and target < view.sighting.desired
    headroom = 0 if is_going else view.fleet.packing.headroom_tasks
    # Not as many workers as the demand needs: those whose tasks are counted in it may run empty meanwhile.
    return packing.keep_working(view, workers=0, free_tasks=waiting + headroom)


def _why_kept(view: View, target: int, held_by: Why | None) -> Why:
    desired = view.sighting.desired
    if target < desired and held_by is not None:
        return held_by
    if view.depth.doubt and desired <= 1 and not view.depth.demand and desired > view.fleet.min_workers:
        return Why.ZERO_DOUBTED
    if view.needed_by_now >= desired:
        return Why.STEADY
    return Why.WINDOW if view.needed_by_window >= desired else Why.ALL_BUSY


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
