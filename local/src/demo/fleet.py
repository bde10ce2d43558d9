"""Watch the worker fleet and the task queue side by side, and remember what the verdict needs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psycopg

from demo.ecs import Counts
from demo.services import WORKERS
from demo.stage import Stage
from demo.timeline import Timeline

_SAMPLE_SECONDS = 0.5
_STATES = "SELECT state, count(*) FROM task_instance WHERE state IS NOT NULL GROUP BY state"
_WORKERS_USED = "SELECT count(DISTINCT hostname) FROM task_instance WHERE hostname <> ''"


@dataclass(slots=True)
class Fleet:
    """Samples twice a second and prints a line when something changed.

    Attributes:
        peak_running: the most workers that ran at once.
        released_while_busy: workers that were let go while tasks were running on others.
        queue_to_capacity_seconds: from the first queued task until every worker that was wanted had
            taken a task: ECS's start, Airflow's boot and the first receive are all in it.
    """

    stage: Stage
    timeline: Timeline
    peak_running: int = 0
    released_while_busy: int = 0
    queue_to_capacity_seconds: float | None = None
    states: dict[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0))
    _first_queued: float | None = None
    _sampled: float = 0.0
    _said: str = ""

    def sample(self) -> None:
        """Look, remember, and say what changed."""
        now = time.monotonic()
        if now - self._sampled < _SAMPLE_SECONDS:
            return
        self._sampled = now
        before = self.counts
        self.counts = self.stage.ecs.counts(WORKERS)
        self.states = self._task_states()
        if self.states.get("running"):
            self.released_while_busy += max(0, before.desired - self.counts.desired)
        self._remember(now)
        line = f"workers {self.counts.running} running, {self.counts.desired} desired   tasks " + " ".join(
            f"{state} {self.states.get(state, 0)}" for state in ("queued", "running", "success", "failed")
        )
        if line != self._said:
            self.timeline.say("fleet", line)
            self._said = line

    def _task_states(self) -> dict[str, int]:
        try:
            return {str(state): int(str(count)) for state, count in self.stage.rows(_STATES)}
        except psycopg.errors.UndefinedTable:
            return {}

    def _remember(self, now: float) -> None:
        self.peak_running = max(self.peak_running, self.counts.running)
        if self._first_queued is None and self.states.get("queued"):
            self._first_queued = now
        if self.queue_to_capacity_seconds is None and self._first_queued is not None:
            (used,) = self.stage.rows(_WORKERS_USED)[0]
            if 0 < self.counts.desired <= int(str(used)):
                self.queue_to_capacity_seconds = now - self._first_queued
