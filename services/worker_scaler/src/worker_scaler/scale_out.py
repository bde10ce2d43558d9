"""How the count is raised: at once, to the exact number, and not where it would be in vain. Pure."""

from __future__ import annotations

from worker_scaler import packing, trouble
from worker_scaler.decision import Outcome, Why
from worker_scaler.freeze import in_force
from worker_scaler.memory import Backoff
from worker_scaler.model import Fleet, Sighting
from worker_scaler.never_below import never_below
from worker_scaler.protection import protections
from worker_scaler.steps import SetDesired, Step
from worker_scaler.trouble import Trouble
from worker_scaler.view import View


def scale_out(view: View, found: Trouble | None) -> tuple[Outcome, Backoff | None]:
    """Raise desired at once, then protect everybody: no slow protection stands in the way of a raise."""
    fleet, sighting, desired = view.fleet, view.sighting, view.sighting.desired
    floor = max(floor_of(view), desired)
    to = limit_step_out(fleet, sighting, max(view.needed_by_now, floor), at_least=floor)
    held_by, backoff = _held_back(view, found, is_wish=to > floor)
    if held_by is not None:
        to = floor
    workers = view.occupancy.busy_first(sighting.present)
    working = (
        packing.everybody(view) if fleet.packing is None else packing.working(view, target=to, held_by=None)
    )
    to_work, to_cordon = packing.orders(view, working)
    raised = (SetDesired(count=to, before=desired),) if to > desired else ()
    protects = protections(fleet, sighting, workers, to, now=view.now)
    steps: tuple[Step, ...] = (*to_work, *raised, *protects, *to_cordon)
    return Outcome(steps=steps, why=held_by or _why_raised(view), desired=to), backoff


def floor_of(view: View) -> int:
    """Return what the count must never be below, whatever the limits."""
    return never_below(view.fleet, view.sighting, now=view.now, occupancy=view.occupancy)


def limit_step_out(fleet: Fleet, sighting: Sighting, to: int, *, at_least: int) -> int:
    """Return ``to``, or as much of it as one decision may add; never less than ``at_least``."""
    if fleet.max_step_out is None:
        return to
    return max(min(to, sighting.desired + fleet.max_step_out), at_least)


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
