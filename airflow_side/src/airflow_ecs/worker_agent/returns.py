"""Give messages back to their queue at once, so that another worker takes them now and not in hours."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from airflow_ecs.worker_agent.intake import Arrival

_MAX_BATCH = 10  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibilityBatch.html
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.2

_log = logging.getLogger(__name__)


def give_back(client: Any, arrivals: Sequence[Arrival]) -> int:
    """Make messages of one queue visible again; return how many could not be.

    Never raises: SQS itself makes the rest visible once the queue's visibility timeout is over.

    Args:
        client: a boto3 SQS client with short timeouts.
        arrivals: messages of one queue.
    """
    left = {str(number): arrival for number, arrival in enumerate(arrivals)}
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            threading.Event().wait(_PAUSE_SECONDS * 2**attempt)
        try:
            for done in _attempt(client, left):
                del left[done]
        except Exception as err:  # noqa: BLE001  # botocore's errors have no common base but this; the next attempt decides
            problem = f"{type(err).__name__}: {err}"
        if not left:
            return 0
    _log.error(
        "%d message(s) of %s could not be given back (%s). Nothing is lost: SQS delivers them again after the"
        " queue's visibility timeout. If this goes on, check sqs:ChangeMessageVisibility of the task role.",
        len(left),
        arrivals[0].url,
        problem or "SQS turned them away",
    )
    return len(left)


def _attempt(client: Any, left: dict[str, Arrival]) -> list[str]:
    done: list[str] = []
    entries = [
        {"Id": number, "ReceiptHandle": arrival.message["ReceiptHandle"], "VisibilityTimeout": 0}
        for number, arrival in left.items()
    ]
    url = next(iter(left.values())).url
    for start in range(0, len(entries), _MAX_BATCH):
        batch = entries[start : start + _MAX_BATCH]
        answer = client.change_message_visibility_batch(QueueUrl=url, Entries=batch)
        done.extend(each["Id"] for each in answer.get("Successful", []))
        # No longer ours to give back: its visibility timeout was over, so it is visible, or somebody else's.
        done.extend(each["Id"] for each in answer.get("Failed", []) if each.get("SenderFault"))
    return done
