"""How much scheduled work will be queued next: what pools and ``parallelism`` leave room for. Pure.

Which of the waiting tasks come first is the scheduler's choice (priority weights, DAG limits); here a
scarce limit is shared in proportion and rounded up: a slot too many costs a worker for a moment, one too few
a wait.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from worker_scaler.limits import Limits
from worker_scaler.model import QueueDepth


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Scheduled tasks of one queue and pool.

    Attributes:
        queue: None when they are another executor's: they need no worker, and take their share all the same.
        slots: of the pool, all together.
    """

    queue: str | None
    pool: str
    tasks: int
    slots: int


def with_admissible(
    queues: Mapping[str, QueueDepth], waiting: Sequence[Waiting], limits: Limits
) -> dict[str, QueueDepth]:
    """Return the queues with ``admissible`` filled in: min(scheduled, free pool slots, parallelism left)."""
    wanted: Counter[str] = Counter()
    for one in waiting:
        wanted[one.pool] += one.slots
    shares = {pool: _share(slots, _free(limits, pool)) for pool, slots in wanted.items()}
    by_queue: dict[str | None, float] = defaultdict(float)
    for one in waiting:
        by_queue[one.queue] += one.tasks * shares[one.pool]
    left = None if limits.parallelism is None else max(0, limits.parallelism - limits.executing)
    share = _share(sum(by_queue.values()), left)
    found = dict(queues)
    for queue, tasks in by_queue.items():
        if queue is not None and (admitted := math.ceil(tasks * share - _ROUNDING)):
            found[queue] = replace(found.get(queue, QueueDepth()), admissible=admitted)
    return found


_ROUNDING = 1e-9  # a third three times is one, not two


def _free(limits: Limits, pool: str) -> int | None:
    """Free slots; None is no limit, as for a pool that nobody knows."""
    known = limits.pools.get(pool)
    return None if known is None or known.slots < 0 else max(0, known.slots - known.used)


def _share(wanted: float, free: int | None) -> float:
    return 1.0 if free is None or wanted <= free else free / wanted
