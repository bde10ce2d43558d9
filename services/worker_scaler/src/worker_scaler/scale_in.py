"""What is done when nothing is to be added: let surplus workers go, or say what holds them. Pure."""

from __future__ import annotations

from dataclasses import replace

from worker_scaler import packing
from worker_scaler.decision import Outcome, Why
from worker_scaler.protection import protections
from worker_scaler.release import LASTING, NO_PROOF, obstacle, release
from worker_scaler.view import View


def scale_in(view: View) -> Outcome:
    """Release surplus workers, or protect everybody and say what holds them."""
    sighting, desired = view.sighting, view.sighting.desired
    busy = view.occupancy.busy_or_unknown
    target = max(view.needed_by_window, busy)
    held_by = obstacle(view)
    working = packing.working(view, target=target, held_by=held_by)
    to_work, to_cordon = packing.orders(view, working)
    needed = max(view.needed_by_now, busy) if view.has_agents else target
    spare = len(sighting.present) - needed
    has_surplus = needed < max(desired, len(sighting.present))
    may_prepare = (
        held_by is None
        or held_by is Why.DEPLOYING
        or (view.has_agents and held_by not in (*LASTING, *NO_PROOF))
    )
    if has_surplus and may_prepare:
        outcome = release(view, target=target, spare=spare, working=working, held_by=held_by)
    else:
        workers = view.occupancy.busy_first(sighting.present)
        steps = protections(view.fleet, sighting, workers, desired, now=view.now)
        outcome = Outcome(steps=steps, why=_why_kept(view, target, held_by), desired=desired)
    return replace(outcome, steps=(*to_work, *outcome.steps, *to_cordon))


def _why_kept(view: View, target: int, held_by: Why | None) -> Why:
    desired = view.sighting.desired
    if target < desired and held_by is not None:
        return held_by
    if view.depth.doubt and desired <= 1 and not view.depth.demand and desired > view.fleet.min_workers:
        return Why.ZERO_DOUBTED
    if view.needed_by_now >= desired:
        return Why.STEADY
    return Why.WINDOW if view.needed_by_window >= desired else Why.ALL_BUSY
