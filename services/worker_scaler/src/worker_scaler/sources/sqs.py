"""SQS beside the source: it is asked for its counts, and compared (:mod:`worker_scaler.crosscheck`).

A cross-check, not a source: while the source is down it may raise a count, and never lowers one.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import translate
from worker_scaler.crosscheck import Messages, Patience, QueueCheck, Tasks, Track, compare, demand
from worker_scaler.model import QueueDepth, Reading

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

    from sidecar.clock import Clock
    from worker_scaler.sources.events import SourceEvents

_PARALLEL_CALLS = 8
_FAILURES_BEFORE_ESTIMATING = 2
"""A single tick without a reading is no outage: the next one says exactly what SQS only estimates."""


class SqsQueues:
    """Reads the counts of queues. Blocking, and safe to call from any thread.

    Args:
        client: with short timeouts.
        urls: by the queue's name in Airflow.
    """

    def __init__(self, client: SQSClient, urls: Mapping[str, str]) -> None:
        self._client = client
        self._urls = dict(urls)

    def count(self) -> dict[str, Messages | None]:
        """Return what SQS counts, by queue; None where it did not answer."""
        if not self._urls:
            return {}
        with ThreadPoolExecutor(max_workers=min(_PARALLEL_CALLS, len(self._urls))) as pool:
            return dict(zip(self._urls, pool.map(self._try, self._urls), strict=True))

    def visibility_timeout_seconds(self, queue: str) -> int:
        """Return the queue's own visibility timeout.

        Raises:
            ConfigError: no such queue, or not allowed.
            Transient: SQS did not answer.
        """
        try:
            answer = self._client.get_queue_attributes(
                QueueUrl=self._urls[queue], AttributeNames=["VisibilityTimeout"]
            )
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot look at the SQS queue of {queue!r}") from err
        return int(answer.get("Attributes", {}).get("VisibilityTimeout", "0"))

    def _try(self, queue: str) -> Messages | None:
        try:
            answer = self._client.get_queue_attributes(
                QueueUrl=self._urls[queue],
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )
        except (ClientError, BotoCoreError):
            return None
        counts = answer.get("Attributes", {})
        if "ApproximateNumberOfMessages" not in counts:
            return None  # no answer is not an empty queue
        return Messages(
            visible=int(counts["ApproximateNumberOfMessages"]),
            in_flight=int(counts.get("ApproximateNumberOfMessagesNotVisible", "0")),
            delayed=int(counts.get("ApproximateNumberOfMessagesDelayed", "0")),
        )


class CrossCheck:
    """Puts what SQS says into each reading: doubts, or a part of a reading when there is none."""

    def __init__(
        self, queues: SqsQueues, *, clock: Clock, events: SourceEvents, patience: Patience | None = None
    ) -> None:
        self._queues = queues
        self._clock = clock
        self._events = events
        self._patience = patience or Patience()
        self._tracks: dict[str, Track] = {}
        self._failures = 0

    def __call__(self, reading: Reading | None) -> Reading | None:
        """Return the reading with SQS's doubts; without one, an incomplete one of SQS's counts, or None."""
        counts = self._queues.count()
        if reading is None:
            self._failures += 1
            return self._estimate(counts) if self._failures >= _FAILURES_BEFORE_ESTIMATING else None
        self._failures = 0
        self._events.estimated(())
        queues = dict(reading.queues)
        checks: dict[str, QueueCheck] = {}
        for queue, messages in counts.items():
            depth = queues.get(queue, QueueDepth())
            checks[queue], self._tracks[queue] = compare(
                _tasks(depth),
                messages,
                self._tracks.get(queue, Track()),
                self._patience,
                now=self._clock.now(),
            )
            if checks[queue].doubt:
                queues[queue] = replace(
                    depth, doubt=checks[queue].doubt, is_contradicted=checks[queue].is_contradiction
                )
        self._events.checked(checks)
        return replace(reading, queues=queues)

    def _estimate(self, counts: Mapping[str, Messages | None]) -> Reading | None:
        known = {queue: messages for queue, messages in counts.items() if messages is not None}
        self._events.estimated(sorted(known))
        if not known:
            return None
        return Reading(
            taken_at=self._clock.now(),
            queues={
                queue: QueueDepth(queued=demand(messages, self._tracks.get(queue, Track())))
                for queue, messages in known.items()
            },
            is_complete=False,
        )


def _tasks(depth: QueueDepth) -> Tasks:
    """Callbacks and connection tests are messages too, and nobody knows which of them wait."""
    return Tasks(
        queued=depth.queued,
        holding=depth.running + depth.restarting + depth.callbacks,
        oldest_queued_age=timedelta(seconds=depth.oldest_queued_age_seconds or 0.0),
    )
