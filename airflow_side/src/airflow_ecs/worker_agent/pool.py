"""What the agent asks of Celery; ``consumer`` answers, and in tests a fake."""

from __future__ import annotations

from typing import Any, Protocol

from airflow_ecs.worker_agent.intake import Arrival


class Pool(Protocol):
    """The Celery side of the worker, as the agent needs it."""

    def active_tasks(self) -> int:
        """Tasks handed to Celery and not yet acknowledged or reported."""

    def free_slots(self) -> int:
        """How many more tasks would begin at once."""

    def begin(self, arrival: Arrival) -> None:
        """Hand a message to Celery."""

    def wake(self, queue: str) -> None:
        """Let the queue be asked again soon."""

    def sqs_client(self, queue: str) -> Any:
        """Return the boto3 client of a queue; usable from any thread."""
