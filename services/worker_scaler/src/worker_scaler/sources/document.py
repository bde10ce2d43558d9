"""The queue depth as a JSON document, as ``airflow-ecs queue-depth`` prints it (ADR 0004). Pure.

Whatever is missing, of the wrong kind or of another version makes the whole document wrong: half a reading
must never pass for a small one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from worker_scaler.model import QueueDepth, Reading

VERSION = 1


class DocumentError(ValueError):
    """The text is not a complete reading; its own text says why, and quotes none of it."""


def parse(text: str | bytes) -> Reading:
    """Return the reading that the document holds.

    Raises:
        DocumentError: it is not a document of version 1, or says itself that it is not complete.
    """
    try:
        document = json.loads(text)
    except ValueError as err:
        raise DocumentError(f"it is not JSON ({type(err).__name__})") from None
    top = _object(document, "the document")
    if top.get("version") != VERSION:
        raise DocumentError(f"its version is {top.get('version')!r}, this scaler reads {VERSION}")
    if top.get("complete") is not True:
        raise DocumentError("it is not complete")
    queues = _object(top.get("queues"), "'queues'")
    return Reading(
        taken_at=_time(top.get("observed_at")),
        queues={name: _depth(name, _object(depth, f"queue {name!r}")) for name, depth in queues.items()},
    )


def _depth(name: str, given: Mapping[str, object]) -> QueueDepth:
    hosts = _object(given.get("busy_hosts"), f"'busy_hosts' of queue {name!r}")
    depth = QueueDepth(
        queued=_count(given.get("queued"), f"'queued' of queue {name!r}"),
        running=_count(given.get("running"), f"'running' of queue {name!r}"),
        restarting=_count(given.get("restarting"), f"'restarting' of queue {name!r}"),
        callbacks=_count(given.get("callbacks", 0), f"'callbacks' of queue {name!r}"),
        scheduled_by_pool=_scheduled(name, given),
        oldest_queued_age_seconds=_age(name, given.get("oldest_queued_age_seconds")),
        busy_hosts={host: _count(tasks, f"a host of queue {name!r}") for host, tasks in hosts.items()},
    )
    if sum(depth.busy_hosts.values()) != depth.running + depth.restarting:
        raise DocumentError(f"the hosts of queue {name!r} hold other tasks than are running and restarting")
    return depth


def _scheduled(name: str, given: Mapping[str, object]) -> dict[str, int]:
    count = _count(given.get("scheduled", 0), f"'scheduled' of queue {name!r}")
    return {"": count} if count else {}


def _age(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise DocumentError(f"'oldest_queued_age_seconds' of queue {name!r} is no age")
    return float(value)


def _time(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise DocumentError("'observed_at' is no time") from None
    if at.tzinfo is None:
        raise DocumentError("'observed_at' has no time zone")
    return at.astimezone(UTC)


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DocumentError(f"{what} is no object")
    return value


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DocumentError(f"{what} is no count")
    return value
