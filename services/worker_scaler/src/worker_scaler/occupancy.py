"""Which workers hold a task, which may, and which are proven to hold none. Pure.

The proof is one database snapshot. A task on its way to a worker is ``queued`` until the worker reports it
``running`` with its host name, both in one transaction. So a worker without a running or restarting task,
in a snapshot without a queued one, held nothing at that instant. Anything less proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from worker_scaler.matching import match
from worker_scaler.model import Fleet, Phase, QueueDepth, Sighting, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Who is busy, by task ARN.

    Attributes:
        tasks: how many tasks each worker holds, also those that are leaving or gone.
        held: present workers that are busy, or that ECS could not describe.
        unmatched_hosts: hosts with a running task that are no worker of this fleet: somebody is busy, and
            nobody knows who.
        idle: running workers that are proven idle and old enough to be released.
        busy_or_unknown: how many present workers may hold a task: the held ones, and for each unmatched host
            one more of the running ones.
    """

    tasks: Mapping[str, int]
    held: frozenset[str]
    unmatched_hosts: tuple[str, ...]
    idle: frozenset[str]
    busy_or_unknown: int

    def busy_first(self, workers: Iterable[Worker]) -> list[Worker]:
        """Sort by need of protection."""
        return sorted(workers, key=lambda worker: (worker.arn not in self.held, worker.arn))


def assess(fleet: Fleet, sighting: Sighting, depth: QueueDepth, *, now: datetime) -> Occupancy:
    """Combine the snapshot of the queues with the workers that ECS lists."""
    tasks: dict[str, int] = {}
    unmatched: list[str] = []
    for host, count in sorted(depth.busy_hosts.items()):
        named = match(host, sighting.workers)
        for worker in named:
            tasks[worker.arn] = tasks.get(worker.arn, 0) + count
        if not named:
            unmatched.append(host or "(no host name)")
    held = frozenset(w.arn for w in sighting.present if w.arn in tasks or w.phase is Phase.UNKNOWN)
    is_provable = depth.queued == 0 and not unmatched
    idle = frozenset(
        worker.arn
        for worker in sighting.workers
        if is_provable
        and worker.phase is Phase.RUNNING
        and worker.arn not in held
        and worker.started_at is not None
        and now - worker.started_at >= fleet.minimum_age
    )
    others = sum(1 for w in sighting.workers if w.phase is Phase.RUNNING and w.arn not in held)
    return Occupancy(
        tasks=tasks,
        held=held,
        unmatched_hosts=tuple(unmatched),
        idle=idle,
        busy_or_unknown=len(held) + min(len(unmatched), others),
    )
