"""The lease as one DynamoDB item, for sources that have no database. No clock is compared with another.

The holder rewrites the item with a new version every tick. Whoever stands by takes it over when *its own*
clock says that the version has not changed for ``patience``; the holder stops earlier, ``validity`` after it
began its last successful write. So for any clocks, there is a time between the two in which nobody acts.
https://aws.amazon.com/blogs/database/building-distributed-locks-with-the-dynamodb-lock-client/
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import translate
from worker_scaler.lease import Standing, lease_lost

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

    from sidecar.clock import Clock

_VALIDITY_TICKS = 1.15
_PATIENCE_TICKS = 2.0
CALL_SECONDS = 8.5
"""Longer than a call that changes something is under way: one attempt, 3 s to connect, 5 s for the answer.

With a tick of 10 s: the holder stops 11.5 s after its last write, a successor waits for 20 s; 8.5 s lie
between, and it is taken over within three ticks. Shorter ticks wait as long as a call may take.
"""


class DynamoDbLease:
    """Implements :class:`worker_scaler.lease.Lease` on a table whose partition key is the string ``name``.

    Args:
        client: with short timeouts, shorter than the tick.
        name: of the item: all copies of one scaler have the same.
        holder: who we are, for people.
        interval_seconds: of a tick.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        table: str,
        name: str,
        holder: str,
        interval_seconds: float,
        clock: Clock,
    ) -> None:
        self._client = client
        self._table = table
        self._name = name
        self._holder = holder
        self._clock = clock
        self._validity_seconds = _VALIDITY_TICKS * interval_seconds
        self._patience_seconds = max(
            _PATIENCE_TICKS * interval_seconds, self._validity_seconds + CALL_SECONDS
        )
        self._lock = threading.Lock()
        self._version: str | None = None  # of our last write; None when the lease is not ours
        self._attempted = ""  # by a write whose answer was lost: it may be the item's version
        self._valid_until = 0.0
        self._seen: tuple[str, float] = ("", 0.0)
        self._term = 0

    def claim(self) -> Standing:
        """Renew, or take over what nobody renews (see the port)."""
        with self._lock:
            try:
                return self._claim()
            except (ClientError, BotoCoreError) as err:
                raise translate(err, f"Cannot hold the lease in table {self._table!r}") from err

    def check(self) -> None:
        """See that it is valid by our own clock; renewed when half of it is over (see the port)."""
        with self._lock:
            now = self._clock.monotonic()
            if self._version is None or now >= self._valid_until:
                raise lease_lost("it was not renewed in time")
            if self._valid_until - now > self._validity_seconds / 2:
                return
            try:
                is_ours = self._write(expected=self._version, term=self._term)
            except (ClientError, BotoCoreError):
                return  # it is valid for a while yet, and the next check tries again
            if not is_ours:
                raise lease_lost("another copy took it over")

    def release(self) -> None:
        """Delete the item if it is ours; a successor need not wait then."""
        with self._lock:
            if self._version is None:
                return
            version, self._version = self._version, None
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key={"name": {"S": self._name}},
                    ConditionExpression="version = :version",
                    ExpressionAttributeValues={":version": {"S": version}},
                )
            except (ClientError, BotoCoreError):
                return  # it lapses by itself

    def _claim(self) -> Standing:
        if self._version is not None and self._write(expected=self._version, term=self._term):
            return Standing(is_writer=True, holder=self._holder, term=self._term)
        answer = self._client.get_item(
            TableName=self._table, Key={"name": {"S": self._name}}, ConsistentRead=True
        )
        item = answer.get("Item")
        if item is None:
            return self._take(expected=None, term=1)
        version, holder = item["version"].get("S", ""), item["holder"].get("S", "")
        now = self._clock.monotonic()
        if self._seen[0] != version:
            self._seen = (version, now)
        if now - self._seen[1] < self._patience_seconds:
            return Standing(is_writer=False, holder=holder)
        return self._take(expected=version, term=int(item["term"].get("N", "0")) + 1)

    def _take(self, *, expected: str | None, term: int) -> Standing:
        is_ours = self._write(expected=expected, term=term)
        return Standing(
            is_writer=is_ours, holder=self._holder if is_ours else "", term=term if is_ours else 0
        )

    def _write(self, *, expected: str | None, term: int) -> bool:
        """Put a new version in the place of the expected one (None: of none); say whether that was there."""
        began, version = self._clock.monotonic(), uuid.uuid4().hex
        is_vacant = "attribute_not_exists(version) OR " if expected is None else ""
        # The new version counts as expected too: a retry of the SDK may meet what its first try has written.
        known = [expected or version, self._attempted or version, version]
        self._attempted = version
        try:
            self._client.put_item(
                TableName=self._table,
                Item={
                    "name": {"S": self._name},
                    "version": {"S": version},
                    "holder": {"S": self._holder},
                    "term": {"N": str(term)},
                },
                ConditionExpression=f"{is_vacant}version IN (:a, :b, :c)",
                ExpressionAttributeValues={
                    key: {"S": value} for key, value in zip((":a", ":b", ":c"), known, strict=True)
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            self._version, self._attempted = None, ""
            return False
        self._version, self._attempted, self._term = version, "", term
        self._valid_until = began + self._validity_seconds
        return True
