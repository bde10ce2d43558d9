"""A service that cannot start workers: how that is seen, and how long not to push it. Pure.

A count raised on a service that starts nothing brings no worker; it only makes the heap bigger that comes
down when the cause is mended. So the count is kept, and raised again after growing pauses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker_scaler.decision import Why
from worker_scaler.memory import Backoff
from worker_scaler.model import Fleet, Phase, Sighting, Worker
from worker_scaler.outlook import Outlook

_FAILED_TO_START = "TaskFailedToStart"
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html (``stopCode``)"""

_RECENT = timedelta(minutes=10)
_FAST_END = timedelta(seconds=30)
_SLOW_FACTOR = 2.0
_SLOW_AT_LEAST = timedelta(minutes=2)

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
_NO_CAPACITY = ("unable to place a task", "capacity is unavailable", "not enough ip addresses", "resource:")
_CANNOT_START = ("unable to consistently start tasks",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a service cannot start workers.

    Attributes:
        why: which kind; a member of :class:`worker_scaler.decision.Why` about starts.
        text: in ECS's own words where it gave any.
    """

    why: Why
    text: str


def find(fleet: Fleet, sighting: Sighting, outlook: Outlook, *, now: datetime) -> Trouble | None:
    """Return what keeps the service from starting workers; None is nothing."""
    rollout = sighting.rollout
    if rollout is not None and rollout.state == "FAILED":
        last = next(_failed_starts(sighting, now=now), None)
        said = [rollout.reason, last.stop_reason if last is not None else ""]
        return Trouble(why=Why.DEPLOYMENT_FAILED, text="; ".join(text for text in said if text))
    last_start = max((w.started_at for w in sighting.present if w.started_at is not None), default=None)
    for worker in _failed_starts(sighting, now=now):
        if last_start is None or worker.stopped_at is None or worker.stopped_at > last_start:
            return Trouble(why=_kind(worker.stop_reason), text=_said(worker))
    for notice in sighting.notices:
        is_news = now - notice.at <= _RECENT and (last_start is None or notice.at > last_start)
        if is_news and any(words in notice.message.lower() for words in (*_NO_CAPACITY, *_CANNOT_START)):
            return Trouble(why=_kind(notice.message), text=notice.message)
    return _slow_start(fleet, sighting, outlook, now=now)


def next_backoff(fleet: Fleet, backoff: Backoff | None, *, now: datetime, chance: float) -> Backoff:
    """Return the pause after one more try: doubled, with equal jitter.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    tries = 1 if backoff is None else backoff.tries + 1
    ceiling = min(fleet.backoff_max, fleet.backoff_base * 2.0 ** min(tries - 1, 30))
    return Backoff(tries=tries, until=now + ceiling * (0.5 + chance / 2))


def _failed_starts(sighting: Sighting, *, now: datetime) -> Iterator[Worker]:
    """Yield the workers that did not start, or ended at once, lately."""
    for worker in sighting.workers:
        if worker.phase is not Phase.STOPPED or worker.stopped_at is None:
            continue
        if now - worker.stopped_at > _RECENT:
            continue
        if worker.stop_code == _FAILED_TO_START or _ended_at_once(worker):
            yield worker


def _ended_at_once(worker: Worker) -> bool:
    """Whether it ended by itself within seconds: a process that crashes at its first line."""
    if worker.stop_code != "EssentialContainerExited" or worker.started_at is None:
        return False
    return worker.stopped_at is not None and worker.stopped_at - worker.started_at < _FAST_END


def _slow_start(fleet: Fleet, sighting: Sighting, outlook: Outlook, *, now: datetime) -> Trouble | None:
    limit = fleet.start_timeout
    if outlook.start_latency_seconds is not None:
        known = timedelta(seconds=_SLOW_FACTOR * outlook.start_latency_seconds)
        limit = min(limit, max(known, _SLOW_AT_LEAST))
    waiting = [
        now - worker.created_at
        for worker in sighting.present
        if worker.phase is Phase.PENDING and worker.created_at is not None
    ]
    longest = max(waiting, default=timedelta(0))
    if longest <= limit:
        return None
    seconds = f"{longest.total_seconds():.0f} s, more than {limit.total_seconds():.0f} s"
    return Trouble(why=Why.STARTS_SLOW, text=f"a worker has been starting for {seconds}")


def _kind(text: str) -> Why:
    return Why.NO_CAPACITY if any(words in text.lower() for words in _NO_CAPACITY) else Why.STARTS_FAILING


def _said(worker: Worker) -> str:
    reasons = [worker.stop_reason, *(reason for _, reason in worker.exits if reason)]
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or worker.stop_code
