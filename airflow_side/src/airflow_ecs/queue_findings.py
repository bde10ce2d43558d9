"""What a queue's real attributes mean for Airflow's tasks. No I/O.

The attributes are those of
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from airflow_ecs.sqs_profile import MAX_VISIBILITY_SECONDS

Level = Literal["ok", "warning", "error"]
MIN_RECEIVE_COUNT = (
    5  # a message goes back, and counts as received, when its worker is cordoned or cannot protect
)
MIN_RETENTION_SECONDS = 3_600
MAX_RETENTION_SECONDS = 86_400  # what a message holds is worthless after [scheduler] task_queued_timeout


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor.

    Attributes:
        level: ``error`` loses or doubles tasks, or stops them; ``warning`` will hurt one day.
        subject: what it is about.
        text: what, why, and what to do.
    """

    level: Level
    subject: str
    text: str


def of_queue(name: str, attributes: Mapping[str, str]) -> list[Finding]:
    """Compare one queue with the profile; exactly one ``ok`` when there is nothing to say."""
    subject = f"queue {name}"
    found = [
        *_visibility(subject, int(attributes.get("VisibilityTimeout", "30"))),
        *_redrive(subject, attributes.get("RedrivePolicy")),
        *_encryption(subject, attributes),
        *_retention(subject, int(attributes.get("MessageRetentionPeriod", "345600"))),
    ]
    if int(attributes.get("DelaySeconds", "0")):
        found.append(
            Finding("warning", subject, f"delays every message by {attributes['DelaySeconds']} s: set 0")
        )
    if attributes.get("FifoQueue") == "true":
        found.append(
            Finding("error", subject, "is a FIFO queue: Celery has one message of it in flight at a time")
        )
    return found or [
        Finding("ok", subject, "visibility, redrive, encryption and retention are as they should be")
    ]


def of_dags(used: Iterable[str], known: Iterable[str]) -> list[Finding]:
    """Compare the queues that tasks in the database use with those Celery knows."""
    unknown = sorted(set(used) - set(known))
    if not unknown:
        return [
            Finding("ok", "queues of DAGs", "every queue that a task in the database uses is known to Celery")
        ]
    return [
        Finding(
            "error",
            "queues of DAGs",
            f"tasks use {', '.join(map(repr, unknown))}, which Celery does not know: they fail to be"
            " published. Add"
            " the queues to AIRFLOW_ECS_SQS_QUEUES, or correct queue= in the DAGs",
        )
    ]


def _visibility(subject: str, seconds: int) -> list[Finding]:
    if seconds >= MAX_VISIBILITY_SECONDS:
        return []
    return [
        Finding(
            "warning",
            subject,
            f"VisibilityTimeout is {seconds} s: a task that runs longer is delivered a second time, and"
            " the copy takes"
            f" the message with it. Set {MAX_VISIBILITY_SECONDS}; Airflow finds dead tasks by their"
            " heartbeats",
        )
    ]


def _redrive(subject: str, policy: str | None) -> list[Finding]:
    if policy is None:
        return [
            Finding(
                "warning",
                subject,
                "has no dead-letter queue: a message that no worker can read is deleted unseen. Add a"
                " RedrivePolicy with"
                f" maxReceiveCount {MIN_RECEIVE_COUNT} or more",
            )
        ]
    count = int(json.loads(policy).get("maxReceiveCount", 0))
    if count >= MIN_RECEIVE_COUNT:
        return []
    return [
        Finding(
            "error",
            subject,
            f"maxReceiveCount is {count}: a message that went back to the queue a few times, as it does"
            " when workers are"
            f" scaled in, ends in the dead-letter queue and its task never runs. Set {MIN_RECEIVE_COUNT}"
            " or more",
        )
    ]


def _encryption(subject: str, attributes: Mapping[str, str]) -> list[Finding]:
    if attributes.get("KmsMasterKeyId"):
        return []
    return [
        Finding(
            "warning",
            subject,
            "is not encrypted with KMS: messages hold the tasks' tokens, readable to whoever may receive. Set"
            " KmsMasterKeyId, and give workers kms:Decrypt and schedulers kms:GenerateDataKey",
        )
    ]


def _retention(subject: str, seconds: int) -> list[Finding]:
    if seconds < MIN_RETENTION_SECONDS:
        return [
            Finding(
                "error",
                subject,
                f"MessageRetentionPeriod is {seconds} s: tasks that wait longer for a worker are gone. Set"
                f" {MAX_RETENTION_SECONDS}",
            )
        ]
    if seconds > MAX_RETENTION_SECONDS:
        return [
            Finding(
                "warning",
                subject,
                f"MessageRetentionPeriod is {seconds} s: a message is worthless after [scheduler]"
                " task_queued_timeout."
                f" Set {MAX_RETENTION_SECONDS}, or old messages come back long after their tasks",
            )
        ]
    return []
