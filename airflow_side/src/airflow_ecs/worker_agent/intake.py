"""How many messages to ask SQS for, from which queue, and what to do with those that come. No I/O.

Kombu asks each queue for as many messages as there are free slots, so a worker of many queues hoards what it
cannot begin; it asks a queue twice at a time, once its consumer was cancelled and came back; and one poll
that SQS answers with an error ends the worker. Here a queue has at most one poll open, all open polls
together ask for no more messages than can begin, and each way a poll can end leads to the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_ecs.worker_agent.protection import Verdict

MAX_MESSAGES = (
    10  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
)
SHORT_WAIT_SECONDS = 1  # while queues take turns because there are fewer free slots than queues
FAILED_POLL_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One received message.

    Attributes:
        queue: its queue's name.
        url: its queue's URL.
        message: as SQS gave it.
        at: when it came, on the monotonic clock.
    """

    queue: str
    url: str
    message: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask a queue."""

    count: int
    wait_seconds: int


@dataclass(slots=True)
class _Poll:
    count: int
    opened_at: float


class Intake:
    """All messages between SQS and Celery. Used by one thread, the worker's event loop.

    Args:
        wait_seconds: how long SQS may hold a poll open.
        free_slots: how many more messages could begin now.
        begin: hand one message to Celery.
        give_back: make messages visible again; answers through :meth:`returned`.
    """

    def __init__(
        self,
        *,
        wait_seconds: int,
        free_slots: Callable[[], int],
        begin: Callable[[Arrival], None],
        give_back: Callable[[Sequence[Arrival]], None],
    ) -> None:
        self._wait_seconds = wait_seconds
        self._free_slots = free_slots
        self._begin = begin
        self._give_back = give_back
        self._polls: dict[str, _Poll] = {}
        self._parked: dict[str, None] = {}  # in the order they came: they take turns
        self._not_before: dict[str, float] = {}
        self._held: deque[Arrival] = deque()
        self._returning = 0

    @property
    def open_polls(self) -> int:
        """Questions that have not come back."""
        return len(self._polls)

    @property
    def waiting(self) -> int:
        """Messages that wait to begin."""
        return len(self._held)

    @property
    def reserved(self) -> int:
        """Messages received and not begun, those on their way back among them."""
        return len(self._held) + self._returning

    def oldest_poll_seconds(self, now: float) -> float:
        """How long the oldest open poll has been open; 0 without any."""
        return max((now - poll.opened_at for poll in self._polls.values()), default=0.0)

    def ask(self, queue: str, *, queues: int, may_ask: bool, now: float) -> Question | None:
        """Open a poll of ``queue``: return what to ask; None parks the queue until :meth:`woken` names it.

        Args:
            queue: the queue whose turn it is.
            queues: how many queues this worker takes from.
            may_ask: whether the worker takes messages at all.
            now: monotonic.
        """
        if queue in self._polls:
            return None  # its end leads to the next one
        unclaimed = self._unclaimed()
        if not may_ask or unclaimed < 1 or now < self._not_before.get(queue, now):
            self._parked[queue] = None
            return None
        self._parked.pop(queue, None)
        others = max(queues - len(self._polls) - 1, 0)
        count = min(max(unclaimed // (others + 1), 1), MAX_MESSAGES)
        takes_turns = unclaimed - count < others
        self._polls[queue] = _Poll(count, now)
        return Question(
            count, min(SHORT_WAIT_SECONDS if takes_turns else self._wait_seconds, self._wait_seconds)
        )

    def woken(self, *, may_ask: bool, now: float) -> list[str]:
        """Return the parked queues that can be asked now, longest parked first."""
        if not may_ask or not self._parked or self._unclaimed() < 1:
            return []
        return [queue for queue in self._parked if now >= self._not_before.get(queue, now)]

    def arrived(self, queue: str, arrivals: Sequence[Arrival]) -> None:
        """A poll came back, with or without messages."""
        self._polls.pop(queue, None)
        self._held.extend(arrivals)

    def failed(self, queue: str, now: float) -> None:
        """A poll came back with an error: the queue is asked again, a little later."""
        self._polls.pop(queue, None)
        self._not_before[queue] = now + FAILED_POLL_PAUSE_SECONDS

    def forget_polls(self) -> None:
        """The connection that had polls open is gone."""
        self._polls.clear()
        self._parked.clear()
        self._not_before.clear()

    def settle(self, verdict: Verdict) -> int:
        """Begin, keep or give back what waits; return how many went back."""
        if verdict is Verdict.GIVE_BACK:
            return self.give_back_all()
        while verdict is Verdict.BEGIN and self._held and self._free_slots() > 0:
            self._begin(self._held.popleft())
        return 0

    def give_back_all(self) -> int:
        """Give back what has not begun; return how many that were."""
        going, self._held = list(self._held), deque()
        if going:
            self._returning += len(going)
            self._give_back(going)
        return len(going)

    def returned(self, count: int) -> None:
        """Messages are back in their queue (or SQS will make them visible itself, after their timeout)."""
        self._returning -= count

    def _unclaimed(self) -> int:
        return self._free_slots() - len(self._held) - sum(poll.count for poll in self._polls.values())
