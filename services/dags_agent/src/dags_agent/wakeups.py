"""S3's notifications through SQS: they wake a pass early, and that is all they do.

Events are delivered late, twice, out of order or never; the timer finds every change whatever they say. A
burst is waited for until it pauses, so that an upload of 300 files is one release. A message is deleted after
the pass that began later than it came: killed before that, it comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aiobotocore.config import AioConfig
from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError

from dags_agent.events import Events
from dags_agent.notification import Kind, kind_of
from dags_agent.settings import DagsAgentSettings
from sidecar.app import Runtime
from sidecar.aws import Aws, translate
from sidecar.errors import SidecarError, Transient
from sidecar.loop import backoff_seconds

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
_BATCH_MAX = 10
_LONG_POLL_SECONDS = 20
# Longer than a long poll, or every empty one would look like an outage.
_READ_TIMEOUT_SECONDS = 30.0
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
        """Delete messages; at most :data:`_BATCH_MAX` at once. Raises SidecarError."""


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
            for at in range(0, len(receipts), _BATCH_MAX):
                await queue.delete(receipts[at : at + _BATCH_MAX])
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


class SqsQueue(Queue):
    """A queue in SQS."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    async def receive(self) -> list[Message]:
        """Return up to ten messages, waiting up to twenty seconds for the first (see :class:`Queue`)."""
        try:
            answer = await self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=_BATCH_MAX, WaitTimeSeconds=_LONG_POLL_SECONDS
            )
        except (ClientError, BotoCoreError, HttpError) as err:
            raise self._explained("Cannot receive from", err) from err
        return [
            Message(body=item.get("Body", ""), receipt=item["ReceiptHandle"])
            for item in answer.get("Messages", [])
        ]

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages (see :class:`Queue`)."""
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        try:
            await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]  # stubs: a TypedDict
        except (ClientError, BotoCoreError, HttpError) as err:
            raise self._explained("Cannot delete from", err) from err

    async def look(self) -> None:
        """Raise SidecarError when the queue is not there, or we may not look at it."""
        try:
            await self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["VisibilityTimeout"])
        except (ClientError, BotoCoreError, HttpError) as err:
            raise self._explained("Cannot look at", err) from err

    def _explained(self, doing: str, err: ClientError | BotoCoreError | HttpError) -> SidecarError:
        what = f"{doing} the events queue {self._url}"
        if isinstance(err, HttpError):
            return Transient(what, why=str(err) or type(err).__name__, remedy="It will be tried again")
        return translate(err, what)


@asynccontextmanager
async def connect_queue(aws: Aws, url: str) -> AsyncIterator[SqsQueue]:
    """Open a client for a queue; calls nothing yet."""
    own = aws.config(read_timeout_seconds=_READ_TIMEOUT_SECONDS, connections=2)
    config = AioConfig().merge(own)  # type: ignore[arg-type]  # stubs: any Config
    async with aws.aio_session.create_client("sqs", config=config) as client:
        yield SqsQueue(client, url)
