"""``GET /explain``: the last decision of each fleet, as JSON. Written by the loop, read by HTTP threads."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sidecar.errors import SidecarError
from sidecar.http import Answer
from sidecar.secrets import mask
from worker_scaler.decision import Decision
from worker_scaler.model import Fleet
from worker_scaler.steps import Step


class Explanations:
    """Keeps the last decision, and the last failure since, of each fleet."""

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._fleets: dict[str, dict[str, Any]] = {}
        self._orphans: dict[str, int] = {}
        self._body = b""
        self._publish()

    def decided(self, fleet: Fleet, decision: Decision, *, at: datetime) -> None:
        """Keep a decision; it replaces the last one."""
        occupancy = decision.occupancy
        self._fleets[fleet.name] = {
            "at": at.isoformat(),
            "why": decision.why.value,
            **asdict(decision.numbers),
            "steps": [_step(step) for step in decision.steps],
            "unmatched_hosts": list(occupancy.unmatched_hosts) if occupancy else None,
            "busy_workers_tasks": dict(sorted(occupancy.tasks.items())) if occupancy else None,
            "failure": None,
        }
        self._publish()

    def failed(self, fleet: Fleet, error: SidecarError) -> None:
        """Keep why the last decision could not be taken or carried out."""
        known = self._fleets.get(fleet.name, {})
        self._fleets[fleet.name] = {**known, "failure": mask(str(error))}
        self._publish()

    def orphans(self, tasks_by_queue: dict[str, int]) -> None:
        """Keep the queues that no fleet consumes."""
        self._orphans = tasks_by_queue
        self._publish()

    def answer(self) -> Answer:
        """Return all of it; called on an HTTP thread."""
        return Answer(body=self._body, content_type="application/json")

    def _publish(self) -> None:
        document = {"dry_run": self._dry_run, "orphan_queues": self._orphans, "fleets": self._fleets}
        self._body = json.dumps(document, indent=2).encode() + b"\n"


def _step(step: Step) -> dict[str, Any]:
    return {"step": type(step).__name__, **asdict(step)}
