"""The request rate that ECS allows an account, by category of actions, as token buckets.

Pure: the time is handed in. Numbers from
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html (read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from local_ecs.errors import ThrottledError


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One category: ``burst`` requests at once, ``per_second`` for ever."""

    name: str
    burst: float
    per_second: float


_SERVICE_MODIFY = Bucket(name="service modify", burst=50, per_second=5)
_SERVICE_READ = Bucket(name="service read", burst=100, per_second=20)
_RESOURCE_READ = Bucket(name="cluster resource read", burst=100, per_second=20)
_RESOURCE_MODIFY = Bucket(name="cluster resource modify", burst=100, per_second=40)
_PROTECTION = Bucket(name="task protection", burst=200, per_second=80)
_TAG_MODIFY = Bucket(name="tag modify", burst=20, per_second=10)
_TAG_READ = Bucket(name="tag read", burst=50, per_second=20)

BUCKETS = {
    "CreateService": _SERVICE_MODIFY,
    "UpdateService": _SERVICE_MODIFY,
    "DeleteService": _SERVICE_MODIFY,
    "DescribeServices": _SERVICE_READ,
    "ListServices": _SERVICE_READ,
    "ListTasks": _RESOURCE_READ,
    "DescribeTasks": _RESOURCE_READ,
    "RunTask": _RESOURCE_MODIFY,
    "StopTask": _RESOURCE_MODIFY,
    "UpdateTaskProtection": _PROTECTION,
    "GetTaskProtection": _PROTECTION,
    "TagResource": _TAG_MODIFY,
    "UntagResource": _TAG_MODIFY,
    "ListTagsForResource": _TAG_READ,
}


class Throttle:
    """Token buckets, full at first. Actions of no category are never throttled."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[float, datetime]] = {}

    def take(self, action: str, now: datetime) -> None:
        """Take one token for ``action``.

        Raises:
            ThrottledError: the bucket is empty; a token comes back within a second.
        """
        bucket = BUCKETS.get(action)
        if bucket is None:
            return
        level, since = self._levels.get(bucket.name, (bucket.burst, now))
        level = min(bucket.burst, level + bucket.per_second * (now - since).total_seconds())
        self._levels[bucket.name] = (level - 1 if level >= 1 else level, now)
        if level < 1:
            raise ThrottledError("Rate exceeded")
