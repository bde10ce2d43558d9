"""The events queue in SQS. Imported only where there is one: aiobotocore and aiohttp take 13 MB of memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiobotocore.config import AioConfig
from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError

from dags_agent.wakeups import BATCH_MAX, Message, Queue
from sidecar.aws import Aws, translate
from sidecar.errors import SidecarError, Transient

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

_LONG_POLL_SECONDS = 20
# Longer than a long poll, or every empty one would look like an outage.
_READ_TIMEOUT_SECONDS = 30.0


class SqsQueue(Queue):
    """A queue in SQS."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    async def receive(self) -> list[Message]:
        """Return up to ten messages, waiting up to twenty seconds for the first (see :class:`Queue`)."""
        try:
            answer = await self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=BATCH_MAX, WaitTimeSeconds=_LONG_POLL_SECONDS
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
