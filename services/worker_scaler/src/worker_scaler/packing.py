"""Which workers of a fleet with agents take messages, and which are cordoned. Pure.

A cordon costs nothing and is taken back at once, a start takes a minute. So surplus workers are cordoned as
soon as they are surplus, and run empty while the scale-in window still lasts; when demand returns they are
un-cordoned before anything is started. Kept at work are those that will hold their tasks longest: they stay
anyway, and the others get free soonest.
"""

from __future__ import annotations

from datetime import datetime

from worker_scaler.agent import AgentPhase, Order
from worker_scaler.decision import Why
from worker_scaler.model import Phase, Sighting, Worker
from worker_scaler.release import LASTING
from worker_scaler.steps import Give
from worker_scaler.view import View


def working(view: View, *, target: int, held_by: Why | None) -> frozenset[str]:
    """Choose who is to take messages, among those that can be told: all, unless a surplus may be prepared."""
    if not view.has_agents:
        return frozenset()
    if held_by in LASTING:
        return everybody(view)
    waiting = view.depth.in_flight + view.depth.admissible + view.outlook.imminent_tasks
    if view.fleet.packing is None:
        if held_by is not None and held_by is not Why.DEPLOYING:
            return everybody(view)
        return keep_working(view, workers=target, free_tasks=waiting)
    is_going = held_by is None and target < view.sighting.desired
    headroom = 0 if is_going else view.fleet.packing.headroom_tasks
    # Not as many workers as the demand needs: those whose tasks are counted in it may run empty meanwhile.
    return keep_working(view, workers=0, free_tasks=waiting + headroom)


def keep_working(view: View, *, workers: int, free_tasks: int) -> frozenset[str]:
    """Choose who takes messages: at least so many workers, with at least so many free slots together."""
    slots = view.fleet.tasks_per_worker
    chosen: list[str] = []
    free = 0
    for worker in sorted(_running(view), key=lambda worker: _retention(view, worker)):
        if len(chosen) >= workers and free >= free_tasks:
            break
        chosen.append(worker.arn)
        free += max(0, slots - view.occupancy.tasks.get(worker.arn, 0))
    return frozenset(chosen)


def everybody(view: View) -> frozenset[str]:
    """Choose all."""
    return frozenset(worker.arn for worker in _running(view))


def orders(view: View, working: frozenset[str]) -> tuple[tuple[Give, ...], tuple[Give, ...]]:
    """Return what to tell the agents that are told otherwise now: first to work, then to be cordoned."""
    to_work: list[str] = []
    to_cordon: list[str] = []
    for worker in _running(view):
        if worker.agent is None or worker.agent.phase is AgentPhase.STOPPING:
            continue
        order = Order.WORK if worker.arn in working else Order.CORDON
        if not worker.agent.follows(order, now=view.now):
            (to_work if order is Order.WORK else to_cordon).append(worker.arn)
    return _give(to_work, Order.WORK), _give(to_cordon, Order.CORDON)


def everybody_to_work(sighting: Sighting, *, now: datetime) -> tuple[Give, ...]:
    """Un-cordon all: what to do when nobody knows how much work there is."""
    arns = [
        worker.arn
        for worker in sighting.workers
        if worker.phase is Phase.RUNNING
        and worker.agent is not None
        and worker.agent.phase is not AgentPhase.STOPPING
        and not worker.agent.follows(Order.WORK, now=now)
    ]
    return _give(arns, Order.WORK)


def cordoned(view: View) -> int | None:
    """Return how many running workers are told not to take messages; None in a fleet without agents."""
    if not view.has_agents:
        return None
    return sum(1 for w in _running(view) if w.agent is not None and w.agent.order is Order.CORDON)


def _running(view: View) -> list[Worker]:
    return [worker for worker in view.sighting.workers if worker.phase is Phase.RUNNING]


def _retention(view: View, worker: Worker) -> tuple[bool, bool, float, int, bool, str]:
    """Sort key: those that cannot be told anything, then those of the newest deployment that stay longest."""
    agent = worker.agent
    return (
        agent is not None and agent.phase is not AgentPhase.STOPPING,
        view.sighting.is_outdated(worker),
        -view.outlook.remaining_seconds_by_arn.get(worker.arn, 0.0),
        -view.occupancy.tasks.get(worker.arn, 0),
        agent is not None and agent.order is Order.CORDON,
        worker.arn,
    )


def _give(arns: list[str], order: Order) -> tuple[Give, ...]:
    return (Give(arns=tuple(arns), order=order),) if arns else ()
