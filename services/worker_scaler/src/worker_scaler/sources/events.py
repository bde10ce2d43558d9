"""What is told of the sources: what cannot be counted, and what SQS says beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from worker_scaler.crosscheck import Agreement, QueueCheck

if TYPE_CHECKING:
    from sidecar.telemetry import Telemetry

_CONSEQUENCES = {
    Agreement.GHOSTS: "these messages belong to no task of Airflow; they do not keep workers",
    Agreement.LOST: "these tasks wait for a message that is not there; Airflow queues them again after "
    "[scheduler] task_queued_timeout",
    Agreement.SWALLOWED: "these messages are with somebody who does not start them; Airflow queues them "
    "again after [scheduler] task_queued_timeout",
    Agreement.NO_ANSWER: "the fleet keeps its last worker until SQS answers",
}
"""What each disagreement means for tasks and fleets."""


class SourceEvents:
    """Log lines and metrics of the sources. What lasts is logged when it begins or changes."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._agreement = telemetry.gauge(
            "crosscheck", "1 for what SQS and the database say of a queue together", ["queue", "agreement"]
        )
        self._messages = telemetry.gauge("sqs_messages", "Messages as SQS counts them", ["queue", "state"])
        self._told: dict[str, object] = {}

    def blind_spots(self, spots: Sequence[str]) -> None:
        """A right is missing: what it would show is not counted."""
        if self._is_news("blind spots", tuple(spots)) and spots:
            self._log.warning(
                "blind_spots", not_counted=list(spots), to_do="Run what 'worker-scaler grant-sql' prints"
            )

    def checked(self, checks: Mapping[str, QueueCheck]) -> None:
        """What SQS says beside the database, by queue; a disagreement is named when it begins."""
        for queue, check in checks.items():
            for agreement in Agreement:
                self._agreement.labels(queue, agreement).set(agreement is check.agreement)
            counts = asdict(check.messages) if check.messages else {}
            for state, messages in counts.items():
                self._messages.labels(queue, state).set(messages)
            if self._is_news(f"agreement {queue}", check.agreement) and check.agreement in _CONSEQUENCES:
                self._log.warning(
                    f"messages_{check.agreement}",
                    queue=queue,
                    affected=check.affected,
                    consequence=_CONSEQUENCES[check.agreement],
                    **counts,
                )

    def estimated(self, queues: Sequence[str]) -> None:
        """The source is down, and SQS alone says how much there is. Empty: not so any more."""
        if self._is_news("estimated", tuple(queues)) and queues:
            self._log.warning(
                "demand_from_sqs_alone", queues=list(queues), consequence="fleets may grow, none shrinks"
            )

    def _is_news(self, subject: str, fact: object) -> bool:
        """Remember what was told last of a subject; say whether this differs."""
        before = self._told.get(subject)
        self._told[subject] = fact
        return fact != before
