"""Do the database and SQS tell the same story of a queue? Pure.

The database is believed: a message in SQS without a queued or running task in Airflow is nobody's work. But
SQS counts are approximate for about a minute, and a database that says "nothing" may be the wrong one. So a
fleet goes to zero only when SQS agreed in several samples, or when its disagreement has lasted so long that
it can be no lag: then it is named.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Agreement(StrEnum):
    """How the two stories compare. The value is a label: never rename, only add."""

    AGREES = "agrees"
    UNPROVEN = "unproven"  # they differ, or have not agreed long enough
    GHOSTS = "ghosts"  # messages that belong to no task, for longer than SQS lags: nobody's work
    LOST = "lost"  # tasks that wait, and no message that could start them
    SWALLOWED = "swallowed"  # tasks that wait, their messages in flight with somebody who does not start them
    NO_ANSWER = "no_answer"  # SQS was asked and did not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What SQS counts in one queue; approximate.

    Attributes:
        visible: waiting for a worker.
        in_flight: received by a worker and not deleted yet (``NotVisible``).
        delayed: not to be received yet.
    """

    visible: int
    in_flight: int
    delayed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCheck:
    """The verdict on one queue.

    Attributes:
        messages: None when SQS did not answer.
        affected: how many messages (ghosts) or tasks (lost, swallowed) the verdict is about.
        visible_for_seconds: how long there has been a visible message in every sample: the oldest is at least
            nearly so old.
    """

    agreement: Agreement
    messages: Messages | None
    affected: int = 0
    visible_for_seconds: float = 0.0

    @property
    def is_contradiction(self) -> bool:
        """Whether SQS was heard, and has not agreed with what the database says."""
        return self.agreement is Agreement.UNPROVEN

    @property
    def doubt(self) -> str:
        """Why the queue may hold work that the database does not know; "" is no doubt: it may go to zero."""
        if self.messages is None:
            return "SQS does not answer"
        if self.agreement is not Agreement.UNPROVEN:
            return ""
        if self.messages.total:
            return f"SQS counts {self.messages.total} messages, the database no task"
        return "SQS has not agreed often enough yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How much proof is wanted.

    Attributes:
        samples: so many in a row must agree before zero.
        ghosts_after: a disagreement that lasted so long is no lag of SQS.
        lost_after: a task that waited so long should have a message, and be started if it is received.
    """

    samples: int = 3
    ghosts_after: timedelta = timedelta(seconds=180)
    lost_after: timedelta = timedelta(seconds=180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What is remembered of one queue from sample to sample. A new one is merely more careful.

    Attributes:
        agreed: samples in a row in which both said there is nothing.
        extra_since: since when there have been messages without a task, in every sample.
        missing_since: since when tasks have waited that no visible message could start.
        visible_since: since when there has been a visible message.
        ghosts: in-flight messages found to be nobody's; left out when the database cannot be asked.
    """

    agreed: int = 0
    extra_since: datetime | None = None
    missing_since: datetime | None = None
    visible_since: datetime | None = None
    ghosts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """What the database says of the queue, as far as it matters here."""

    queued: int
    holding: int  # running and restarting
    oldest_queued_age: timedelta


def compare(
    tasks: Tasks, messages: Messages | None, track: Track, patience: Patience, *, now: datetime
) -> tuple[QueueCheck, Track]:
    """Compare one sample of both, taken at about the same time.

    Returns:
        the verdict, and what to hand in with the next sample.
    """
    if messages is None:
        return QueueCheck(agreement=Agreement.NO_ANSWER, messages=None), replace(track, agreed=0)
    is_idle = tasks.queued + tasks.holding == 0
    has_extra = is_idle and messages.total > 0
    unreceived = messages.visible + messages.delayed
    is_missing = tasks.queued > 0 and unreceived == 0 and tasks.oldest_queued_age >= patience.lost_after
    track = Track(
        agreed=track.agreed + 1 if is_idle and not messages.total else 0,
        extra_since=(track.extra_since or now) if has_extra else None,
        missing_since=(track.missing_since or now) if is_missing else None,
        visible_since=(track.visible_since or now) if messages.visible else None,
        ghosts=min(track.ghosts, messages.in_flight),
    )
    agreement, affected = _judge(tasks, messages, track, patience, now=now)
    if agreement is Agreement.GHOSTS:
        track = replace(track, ghosts=messages.in_flight)
    visible_for = now - track.visible_since if track.visible_since else timedelta(0)
    check = QueueCheck(
        agreement=agreement,
        messages=messages,
        affected=affected,
        visible_for_seconds=visible_for.total_seconds(),
    )
    return check, track


def _judge(
    tasks: Tasks, messages: Messages, track: Track, patience: Patience, *, now: datetime
) -> tuple[Agreement, int]:
    if track.extra_since is not None:
        is_proven = now - track.extra_since >= patience.ghosts_after
        return (Agreement.GHOSTS if is_proven else Agreement.UNPROVEN), messages.total
    if track.missing_since is not None:
        # SQS counts lag for a minute: one more must have passed since this was seen first.
        if now - track.missing_since < timedelta(minutes=1):
            return Agreement.UNPROVEN, tasks.queued
        received = max(0, messages.in_flight - tasks.holding)
        lost = tasks.queued - min(tasks.queued, received)
        return (Agreement.LOST, lost) if lost else (Agreement.SWALLOWED, tasks.queued)
    if tasks.queued + tasks.holding == 0 and track.agreed < patience.samples:
        return Agreement.UNPROVEN, 0
    return Agreement.AGREES, 0


def demand(messages: Messages, track: Track) -> int:
    """Return how many tasks SQS alone knows of: all messages but those proven to be nobody's."""
    return messages.visible + messages.delayed + max(0, messages.in_flight - track.ghosts)
