"""How surplus workers are let go. Pure.

Two readings, at least one tick apart: the first proves workers idle and unprotects them, a later one must
prove the same workers idle again; only then is ``desired`` lowered, and by no more than these. Everybody else
is protected meanwhile, so ECS, which picks its victims at random, has nobody else to pick.

With agents the proof is the worker's own word, so workers may be unprotected while the scale-in window still
lasts, and old workers during a deployment: ECS can pick nobody who holds anything.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from worker_scaler.decision import Outcome, Why
from worker_scaler.freeze import in_force
from worker_scaler.model import Phase, Worker
from worker_scaler.protection import protections
from worker_scaler.steps import SetDesired, Step, Unprotect, batches
from worker_scaler.view import View

LASTING = (Why.UNMATCHED_HOST, Why.UNKNOWN_WORKER, Why.FROZEN)
"""Obstacles under which nobody is even prepared to go, and all are put to work."""

NO_PROOF = (Why.STALE_READING, Why.DOUBTED)
"""Obstacles under which nobody is unprotected either: nobody is proven idle."""


def obstacle(view: View) -> Why | None:
    """Return why ``desired`` may not be lowered now, what a person can act on first; None when it may."""
    obstacles = (
        (bool(view.occupancy.unmatched_hosts), Why.UNMATCHED_HOST),
        (view.sighting.count(Phase.UNKNOWN) > 0, Why.UNKNOWN_WORKER),
        (in_force(view.fleet.freezes, view.now) is not None, Why.FROZEN),
        (_is_old(view), Why.STALE_READING),
        (view.depth.is_contradicted and not view.has_agents, Why.DOUBTED),
        (view.sighting.is_deploying, Why.DEPLOYING),
        (view.depth.in_flight > 0 and not view.has_agents, Why.TASKS_QUEUED),
        (not view.memory.covers(view.fleet.scale_in_window), Why.WINDOW),
    )
    return next((why for is_there, why in obstacles if is_there), None)


def _is_old(view: View) -> bool:
    """Whether the reading is good for adding only: since it was taken a task may have reached anybody."""
    at = view.memory.last_at
    return at is None or abs(view.now - at) > view.fleet.proof_max_age


def release(
    view: View, *, target: int, spare: int, working: AbstractSet[str], held_by: Why | None
) -> Outcome:
    """Take the next step from ``desired`` down to ``target`` workers.

    Args:
        view: the fleet.
        target: how far ``desired`` may be lowered.
        spare: how many workers may be unprotected and let go at most.
        working: who was told to take messages, and so is not let go.
        held_by: why ``desired`` is not lowered now, although workers are prepared to go; None when it may be.
    """
    sighting, occupancy, memory, now = view.sighting, view.occupancy, view.memory, view.now
    desired = sighting.desired
    chosen = _choose(view, spare, working)
    releasing = frozenset(worker.arn for worker in chosen)
    confirmed = frozenset(
        worker.arn for worker in chosen if worker.arn in memory.releasing and not worker.is_protected(now)
    )
    kept = occupancy.busy_first(worker for worker in sighting.present if worker.arn not in releasing)
    renewals = protections(view.fleet, sighting, kept, desired, now=now)
    lower = max(target, len(sighting.present) - len(confirmed), _lowest_step(view))
    if held_by is None and lower < desired and _only_these_are_exposed(view, confirmed):
        # Who was chosen but not confirmed is unprotected in a later tick: ECS must not pick it in this one.
        lowered = SetDesired(count=lower, before=desired)
        return Outcome(steps=(*renewals, lowered), why=Why.SURPLUS, desired=lower, releasing=confirmed)
    exposed_next = [worker.arn for worker in chosen if _is_to_be_exposed(view, worker)]
    steps: tuple[Step, ...] = (*renewals, *(Unprotect(arns=batch) for batch in batches(exposed_next)))
    why = _why(
        view, target=target, is_new=bool(exposed_next or releasing - memory.releasing), held_by=held_by
    )
    if why is Why.ALL_BUSY and releasing:
        why = Why.PROTECTING
    return Outcome(steps=steps, why=why, desired=desired, releasing=releasing)


def _why(view: View, *, target: int, is_new: bool, held_by: Why | None) -> Why:
    if is_new:
        return Why.RELEASING
    if held_by is not None:
        return held_by
    if target >= view.sighting.desired:
        return Why.STEADY  # what is left over is what ECS is stopping already
    return Why.DRAINING if view.has_agents else Why.ALL_BUSY


def _choose(view: View, count: int, working: AbstractSet[str]) -> list[Worker]:
    """Choose up to ``count`` workers to go: those chosen before, then those still starting, then the rest.

    A starting worker needs no proof, it cannot hold a task; but it too must be found so twice.
    """
    occupancy, now = view.occupancy, view.now
    may_go = [
        worker
        for worker in view.sighting.present
        if (worker.arn in occupancy.idle and worker.arn not in working)
        or (worker.phase is Phase.PENDING and worker.arn not in occupancy.held)
    ]

    def order(worker: Worker) -> tuple[bool, bool, bool, bool, str]:
        return (
            worker.arn not in view.memory.releasing,
            worker.phase is not Phase.PENDING,
            not view.sighting.is_outdated(worker),
            worker.is_protected(now),
            worker.arn,
        )

    if view.sighting.is_deploying:  # ECS replaces the old ones, and nobody else is to go meanwhile
        may_go = [worker for worker in may_go if view.sighting.is_outdated(worker)]
    return sorted(may_go, key=order)[: max(count, 0)]


def _is_to_be_exposed(view: View, worker: Worker) -> bool:
    """Whether to unprotect a chosen worker now.

    During a deployment ECS stops an old worker as soon as it is unprotected: then two readings come first.
    """
    if not worker.is_protected(view.now):
        return False
    return view.has_agents or not view.sighting.is_deploying or worker.arn in view.memory.releasing


def _only_these_are_exposed(view: View, arns: AbstractSet[str]) -> bool:
    """Whether ECS, picking among the unprotected, can pick nobody but these, and starting ones."""
    exposed = {
        worker.arn
        for worker in view.sighting.present
        if not worker.is_protected(view.now)
        and (worker.phase is not Phase.PENDING or worker.arn in view.occupancy.held)
    }
    return exposed <= arns


def _lowest_step(view: View) -> int:
    """Return how far one decision may lower the count."""
    limit = view.fleet.max_step_in
    return 0 if limit is None else view.sighting.desired - limit
