"""Which ECS task this is, and whether ECS has decided to stop it; asked now and then, from a thread."""

from __future__ import annotations

import threading

from airflow_ecs.worker_agent import clock, ecs_agent

ASK_EVERY_SECONDS = 5.0
ASK_EVERY_SECONDS_UNTIL_KNOWN = 0.5


class Identity:
    """What the metadata endpoint tells.

    A task that is to stop is told so here as soon as ECS decided it, also when its SIGTERM waits for another
    container of the task, or for a Spot interruption's grace.

    Args:
        metadata_uri: ``$ECS_CONTAINER_METADATA_URI_V4``; empty outside ECS, where nothing is asked.
    """

    def __init__(self, metadata_uri: str) -> None:
        self._metadata_uri = metadata_uri
        self._asked_at = float("-inf")
        self._thread: threading.Thread | None = None
        self.task_arn: str | None = None
        self.is_stopping = False

    def refresh(self) -> None:
        """Ask again when it is time to; never waits."""
        is_asking = self._thread is not None and self._thread.is_alive()
        pause = ASK_EVERY_SECONDS if self.task_arn else ASK_EVERY_SECONDS_UNTIL_KNOWN
        if not self._metadata_uri or is_asking or clock.monotonic() - self._asked_at < pause:
            return
        self._asked_at = clock.monotonic()
        self._thread = threading.Thread(target=self._ask, name="airflow-ecs-identity", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        task = ecs_agent.look_up_task(self._metadata_uri)
        if task is not None:
            self.task_arn = task.arn
            self.is_stopping = self.is_stopping or task.is_stopping
