"""Which workers to protect now, in which calls. Pure.

Never more than ``desired``: with more protected workers than that, ECS answers every further call with
``DEPLOYMENT_BLOCKED``, also the renewal of a busy worker.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from worker_scaler.model import Fleet, Phase, Sighting, Worker
from worker_scaler.steps import Protect, batches

_RENEW_AT_SHARE = 0.5  # of the protection's time; the other half is for outages of ECS's API


def protections(
    fleet: Fleet,
    sighting: Sighting,
    workers: Iterable[Worker],
    desired: int,
    *,
    now: datetime,
) -> tuple[Protect, ...]:
    """Return the calls that protect these workers where ``desired`` has room, and renew those at half time.

    Args:
        fleet: its policy.
        sighting: its service.
        workers: in the order of need; starting ones are passed over, they hold nothing.
        desired: the count that will be in force when the calls are made.
        now: the time.
    """
    used = sighting.protected(now)
    arns: list[str] = []
    for worker in workers:
        if worker.phase is Phase.PENDING:
            continue
        if worker.counts_as_protected(now):
            if used <= desired and _is_due(worker, fleet.protection, now=now):
                arns.append(worker.arn)
        elif used < desired:
            used += 1
            arns.append(worker.arn)
    minutes = math.ceil(fleet.protection / timedelta(minutes=1))
    return tuple(Protect(arns=batch, minutes=minutes) for batch in batches(arns))


def _is_due(worker: Worker, protection: timedelta, *, now: datetime) -> bool:
    """Whether a protection must be renewed: half of it is over, or nobody knows."""
    return worker.protected_until is None or worker.protected_until - now < protection * _RENEW_AT_SHARE
