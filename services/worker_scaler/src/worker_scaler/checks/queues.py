"""The SQS queues beside the source: are they counted, do they keep a message as long as a task runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sidecar.app import Finding
from sidecar.errors import SidecarError
from worker_scaler.checks.findings import problem

if TYPE_CHECKING:
    from worker_scaler.settings import WorkerScalerSettings
    from worker_scaler.sources.sqs import SqsQueues

VISIBILITY_TIMEOUT_MAX_SECONDS = 43_200
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html"""


def queue_findings(settings: WorkerScalerSettings, queues: SqsQueues | None) -> Iterator[Finding]:
    """Yield what is to be said of each queue. Blocking."""
    for fleet in settings.fleets:
        for queue in fleet.queues:
            if queue not in fleet.sqs_queue_urls:
                yield Finding(
                    what=f"queue {queue}: a second source",
                    verdict="warning",
                    why="the fleet goes to zero on the word of the first source alone",
                    remedy=f"Name its URL in sqs_queue_urls of fleet {fleet.name!r}",
                )
            elif queues is not None:
                yield _visibility(queue, queues)


def _visibility(queue: str, queues: SqsQueues) -> Finding:
    what = f"queue {queue}: visibility timeout"
    try:
        seconds = queues.visibility_timeout_seconds(queue)
    except SidecarError as err:
        return problem(what, err)
    if seconds >= VISIBILITY_TIMEOUT_MAX_SECONDS:
        return Finding(what=what, verdict="ok", why=f"{seconds} s")
    return Finding(
        what=what,
        verdict="warning",
        why=f"a task that runs longer than {seconds} s is delivered to a second worker",
        remedy=f"Set it to {VISIBILITY_TIMEOUT_MAX_SECONDS}, the most that SQS gives, or above the longest "
        "task, and the broker option visibility_timeout to the same",
    )
