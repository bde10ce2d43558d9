"""What keeps tasks from being queued: which limit of Airflow, or of the fleet, binds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One Airflow pool. ``slots`` of -1 is no limit; ``used`` are those of its running and queued tasks."""

    name: str
    slots: int
    used: int

    @property
    def is_full(self) -> bool:
        """Whether no further task of it can be queued."""
        return 0 <= self.slots <= self.used


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Airflow's own limits, as far as the source can tell them.

    Attributes:
        pools: by name.
        parallelism: how many tasks all schedulers together queue at most; None is unknown.
        executing: tasks of all queues that count against it.
    """

    pools: Mapping[str, Pool] = field(default_factory=dict)
    parallelism: int | None = None
    executing: int = 0


def binding(
    limits: Limits | None, *, scheduled_by_pool: Mapping[str, int], needed_workers: int, max_workers: int
) -> str | None:
    """Name the limit that binds a fleet, e.g. ``pool default_pool 128``; None when none is known to.

    Args:
        limits: Airflow's; None when the source does not tell.
        scheduled_by_pool: the fleet's tasks that wait to be queued.
        needed_workers: what the demand needs, without the fleet's maximum.
        max_workers: the fleet's maximum.
    """
    if needed_workers > max_workers:
        return f"max_workers {max_workers}"
    if limits is None or not scheduled_by_pool:
        return None
    if limits.parallelism is not None and limits.executing >= limits.parallelism:
        return f"parallelism {limits.parallelism}"
    waiting = sorted(scheduled_by_pool, key=lambda name: (-scheduled_by_pool[name], name))
    full = [pool for name in waiting if (pool := limits.pools.get(name)) is not None and pool.is_full]
    return f"pool {full[0].name} {full[0].slots}" if full else None
