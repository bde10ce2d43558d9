"""How surplus workers are let go without a word from inside them. Pure.

Two readings, at least one tick apart: the first proves workers idle and unprotects them, a later one must
prove the same workers idle again; only then is ``desired`` lowered, and by no more than these. Everybody else
is protected meanwhile, so ECS, which picks its victims at random, has nobody else to pick.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from worker_scaler.decision import Outcome, Why
from worker_scaler.memory import Memory
from worker_scaler.model import Fleet, Phase, QueueDepth, Sighting, Worker
from worker_scaler.occupancy import Occupancy
from worker_scaler.protection import protections
from worker_scaler.steps import SetDesired, Step, Unprotect, batches


def obstacle(
    fleet: Fleet, sighting: Sighting, occupancy: Occupancy, depth: QueueDepth, memory: Memory
) -> Why | None:
    """Return why nobody may be released now, what a person can act on first; None when somebody may."""
    obstacles = (
        (bool(occupancy.unmatched_hosts), Why.UNMATCHED_HOST),
        (sighting.count(Phase.UNKNOWN) > 0, Why.UNKNOWN_WORKER),
        (sighting.is_deploying, Why.DEPLOYING),
        (depth.queued > 0, Why.TASKS_QUEUED),
        (not memory.covers(fleet.scale_in_window), Why.WINDOW),
    )
    return next((why for is_there, why in obstacles if is_there), None)


def release(
    fleet: Fleet,
    sighting: Sighting,
    occupancy: Occupancy,
    memory: Memory,
    *,
    target: int,
    now: datetime,
) -> Outcome:
    """Take the next step from ``desired`` down to ``target`` workers; call it only without an obstacle."""
    desired = sighting.desired
    chosen = _choose(sighting, occupancy, memory, len(sighting.present) - target, now=now)
    releasing = frozenset(worker.arn for worker in chosen)
    confirmed = frozenset(
        worker.arn for worker in chosen if worker.arn in memory.releasing and not worker.is_protected(now)
    )
    kept = occupancy.busy_first(worker for worker in sighting.present if worker.arn not in releasing)
    renewals = protections(fleet, sighting, kept, desired, now=now)
    lower = max(target, len(sighting.present) - len(confirmed))
    if lower < desired and _only_these_are_exposed(confirmed, sighting, occupancy, now=now):
        # Who was chosen but not confirmed is unprotected in a later tick: ECS must not pick it in this one.
        lowered = SetDesired(count=lower, before=desired)
        return Outcome(steps=(*renewals, lowered), why=Why.SURPLUS, desired=lower, releasing=confirmed)
    exposed_next = [worker.arn for worker in chosen if worker.is_protected(now)]
    steps: tuple[Step, ...] = (*renewals, *(Unprotect(arns=batch) for batch in batches(exposed_next)))
    if target >= desired:
        why = Why.STEADY  # what is left over is what ECS is stopping already
    elif exposed_next or releasing - memory.releasing:
        why = Why.RELEASING
    else:
        why = Why.PROTECTING if releasing else Why.ALL_BUSY
    return Outcome(steps=steps, why=why, desired=desired, releasing=releasing)


def _choose(
    sighting: Sighting, occupancy: Occupancy, memory: Memory, count: int, *, now: datetime
) -> list[Worker]:
    """Choose up to ``count`` workers to go: those chosen before, then those still starting, then the rest.

    A starting worker needs no proof, it cannot hold a task; but it too must be found so twice.
    """
    may_go = [
        worker
        for worker in sighting.present
        if worker.arn in occupancy.idle
        or (worker.phase is Phase.PENDING and worker.arn not in occupancy.held)
    ]

    def order(worker: Worker) -> tuple[bool, bool, bool, str]:
        was_chosen = worker.arn in memory.releasing
        return (not was_chosen, worker.phase is not Phase.PENDING, worker.is_protected(now), worker.arn)

    return sorted(may_go, key=order)[: max(count, 0)]


def _only_these_are_exposed(
    arns: Iterable[str], sighting: Sighting, occupancy: Occupancy, *, now: datetime
) -> bool:
    """Whether ECS, picking among the unprotected, can pick nobody but these, and starting ones."""
    exposed = {
        worker.arn
        for worker in sighting.present
        if not worker.is_protected(now)
        and (worker.phase is not Phase.PENDING or worker.arn in occupancy.held)
    }
    return exposed <= set(arns)
