"""S3's notifications through SQS: they wake a pass early, and that is all they do.

Events are delivered late, twice, out of order or never; the timer finds every change whatever they say. A
burst is waited for until it pauses, so that an upload of 300 files is one release. A message is deleted after
the pass that began later than it came: killed before that, it comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dags_agent.events import Events
from dags_agent.notification import Kind, kind_of
from dags_agent.settings import DagsAgentSettings
from sidecar.app import Runtime
from sidecar.errors import SidecarError
from sidecar.loop import backoff_seconds

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
BATCH_MAX = 10
# Messages in hand at once; more stay in the queue until a pass has covered these.
_PENDING_MAX = 5_000
_BACKOFF_BASE_SECONDS = 1.0
_BACKOFF_CAP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message in hand: what it says, and what deletes it."""

    body: str
    receipt: str


class Queue(Protocol):
    """A queue of notifications."""

    async def receive(self) -> list[Message]:
        """Return the next messages, waiting for some; empty after a while. Raises SidecarError."""

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages; at most :data:`BATCH_MAX` at once. Raises SidecarError."""


@dataclass
class Wakeups:
    """Receives messages, and sets ``wake`` when a burst of them has paused.

    Attributes:
        wake: the next pass should begin now.
    """

    settings: DagsAgentSettings
    runtime: Runtime
    events: Events
    wake: asyncio.Event
    _pending: list[str] = field(default_factory=list)
    _taken: list[str] = field(default_factory=list)
    _first_at: float | None = None
    _last_at: float = 0.0
    _has_room: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, queue: Queue) -> None:
        """Receive until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(queue))
            group.create_task(self._wake_after_quiet())

    def begin(self) -> bool:
        """A pass begins: it covers what has come until now. Return whether that was something."""
        has_come = bool(self._pending)
        self._taken, self._pending = self._taken + self._pending, []
        self._first_at = None
        return has_come

    async def covered(self, queue: Queue) -> None:
        """The pass is done: what it covered is deleted. What cannot be comes again, which is harmless."""
        receipts, self._taken = self._taken, []
        self._has_room.set()
        try:
            for at in range(0, len(receipts), BATCH_MAX):
                await queue.delete(receipts[at : at + BATCH_MAX])
        except SidecarError as err:
            self.events.queue_failed(err)

    async def _receive(self, queue: Queue) -> None:
        failures = 0
        while True:
            try:
                messages = await queue.receive()
                failures = 0
                await self._accept(messages, queue)
            except SidecarError as err:
                failures += 1
                self.events.queue_failed(err)
                pause = backoff_seconds(
                    failures,
                    base_seconds=_BACKOFF_BASE_SECONDS,
                    cap_seconds=_BACKOFF_CAP_SECONDS,
                    rng=self.runtime.rng,
                )
                await self.runtime.clock.wait(pause, self.runtime.stop.event)
            while len(self._pending) + len(self._taken) >= _PENDING_MAX:
                self._has_room.clear()
                await self._has_room.wait()

    async def _accept(self, messages: Sequence[Message], queue: Queue) -> None:
        url = self.settings.source_url
        useless = []
        for message in messages:
            kind = kind_of(message.body, bucket=url.bucket, prefix=url.prefix)
            self.events.message_received(kind)
            if kind is Kind.CHANGE:
                self._pending.append(message.receipt)
                self._last_at = self.runtime.clock.monotonic()
                self._first_at = self._last_at if self._first_at is None else self._first_at
                self._arrived.set()
            else:
                useless.append(message.receipt)
        if useless:
            await queue.delete(useless)

    async def _wake_after_quiet(self) -> None:
        """Wait for a first event, then until none came for the quiet time, or for the longest time."""
        while True:
            await self._arrived.wait()
            while (rest_seconds := self._rest_seconds()) > 0:
                await self.runtime.clock.wait(rest_seconds, self.runtime.stop.event)
                if self.runtime.stop.requested:
                    return
            self._arrived.clear()
            if self._pending:
                self.wake.set()

    def _rest_seconds(self) -> float:
        if self._first_at is None:
            return 0.0  # a pass began meanwhile, and covers them
        until = min(
            self._last_at + self.settings.quiet_seconds, self._first_at + self.settings.quiet_max_seconds
        )
        return until - self.runtime.clock.monotonic()
