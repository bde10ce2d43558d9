"""What a count must never be below, whatever the demand, the limits and the wishes. Pure.

Two reasons: a worker that holds a task and one that is protected each need a place of their own in
``desired``. ECS stops the busy ones if protected idle ones use it up, and with more protected workers than
``desired`` it refuses every further protection.
"""

from __future__ import annotations

from datetime import datetime

from worker_scaler.model import Fleet, Phase, Sighting
from worker_scaler.occupancy import Occupancy


def never_below(
    fleet: Fleet, sighting: Sighting, *, now: datetime, occupancy: Occupancy | None = None
) -> int:
    """Return how many workers may not be given up; ``occupancy`` is None when nobody knows who is busy.

    A worker that ECS did not describe may be either. It holds a count where it is, and raises it up to
    ``max_workers`` only: during a deployment there are more workers than ``desired``, and a count raised for
    each unknown one would grow with every look.
    """
    kept = {worker.arn for worker in sighting.present if worker.is_protected(now)}
    places, known = len(kept), kept
    if occupancy is not None:
        busy = {worker.arn for worker in sighting.present if worker.arn in occupancy.tasks}
        known = kept | busy
        exposed = sum(1 for w in sighting.present if w.phase is Phase.RUNNING and w.arn not in known)
        somebody = min(len(occupancy.unmatched_hosts), exposed)
        places = max(places, len(busy | (kept - _given_to_a_deployment(sighting, occupancy))) + somebody)
    unknown = sum(1 for w in sighting.present if w.phase is Phase.UNKNOWN and w.arn not in known)
    return max(places, min(places + unknown, max(sighting.desired, fleet.max_workers)))


def _given_to_a_deployment(sighting: Sighting, occupancy: Occupancy) -> frozenset[str]:
    """Return the old workers that are proven idle: ECS replaces them, so their places are the new ones'."""
    if not sighting.is_deploying:
        return frozenset()
    return occupancy.idle & {worker.arn for worker in sighting.present if sighting.is_outdated(worker)}
