"""Which workers hold a task, which may, and which are proven to hold none. Pure.

Without agents the proof is one database snapshot. A task on its way to a worker is ``queued`` until the
worker reports it ``running`` with its host name, both in one transaction. So a worker without a running or
restarting task, in a snapshot without a queued one, held nothing at that instant. Less proves nothing.

With agents the proof is the worker's own word: cordoned by us, no poll open, nothing active, nothing
reserved. Busy is whoever either of the two sees busy; a silent agent proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from worker_scaler.matching import Directory
from worker_scaler.model import Fleet, Phase, QueueDepth, Sighting, Worker

_NOBODY: Mapping[str, int] = MappingProxyType({})


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
        silent_agents: running workers whose agent should have answered and did not.
    """

    tasks: Mapping[str, int]
    held: frozenset[str]
    unmatched_hosts: tuple[str, ...]
    idle: frozenset[str]
    busy_or_unknown: int
    silent_agents: frozenset[str] = frozenset()

    def busy_first(self, workers: Iterable[Worker]) -> list[Worker]:
        """Sort by need of protection."""
        return sorted(workers, key=lambda worker: (worker.arn not in self.held, worker.arn))


def assess(
    fleet: Fleet,
    sighting: Sighting,
    depth: QueueDepth,
    *,
    now: datetime,
    elsewhere: Mapping[str, int] = _NOBODY,
) -> Occupancy:
    """Combine the snapshot of the queues with the workers that ECS lists, and with what their agents say.

    ``depth`` is of the fleet's own queues: a busy host of theirs that is no worker of the fleet is unmatched.
    ``elsewhere`` are the busy hosts of all other queues and executors: whoever of our workers is named there
    is busy too (a queue was taken from the fleet's list, a worker consumes one more, an executor has an alias
    that nobody listed), and all others are somebody else's.
    """
    tasks, unmatched = _tasks(sighting, depth, elsewhere)
    running = [worker for worker in sighting.workers if worker.phase is Phase.RUNNING]
    held = frozenset(w.arn for w in sighting.present if w.arn in tasks or w.phase is Phase.UNKNOWN)
    free = [worker for worker in running if worker.arn not in held]
    is_provable = not unmatched and (fleet.agent_port is not None or depth.in_flight == 0)
    idle = [worker for worker in free if _is_old_enough(fleet, worker, now=now)] if is_provable else []
    silent = frozenset[str]()
    if fleet.agent_port is not None:
        idle = [worker for worker in idle if worker.agent is not None and worker.agent.is_proven_idle(now)]
        silent = frozenset(worker.arn for worker in running if worker.agent is None)
    return Occupancy(
        tasks=tasks,
        held=held,
        unmatched_hosts=tuple(unmatched),
        idle=frozenset(worker.arn for worker in idle),
        busy_or_unknown=len(held) + min(len(unmatched), len(free)),
        silent_agents=silent,
    )


def _tasks(
    sighting: Sighting, depth: QueueDepth, elsewhere: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
    """Return how many tasks each worker holds, and the hosts that are nobody's."""
    tasks: dict[str, int] = {}
    unmatched: list[str] = []
    directory = Directory(sighting.workers)
    for host, count in sorted(depth.busy_hosts.items()):
        named = directory.named(host)
        for worker in named:
            tasks[worker.arn] = tasks.get(worker.arn, 0) + count
        if not named:
            unmatched.append(host or "(no host name)")
    for host, count in elsewhere.items():
        for worker in directory.named(host):
            tasks[worker.arn] = tasks.get(worker.arn, 0) + count
    for worker in sighting.workers:
        if worker.agent is not None and worker.agent.held:
            tasks[worker.arn] = max(tasks.get(worker.arn, 0), worker.agent.held)
    return tasks, unmatched


def _is_old_enough(fleet: Fleet, worker: Worker, *, now: datetime) -> bool:
    # Since its creation: Fargate's first minute is billed from the pull of the image, not from RUNNING.
    since = worker.created_at or worker.started_at
    return worker.started_at is not None and since is not None and now - since >= fleet.minimum_age
