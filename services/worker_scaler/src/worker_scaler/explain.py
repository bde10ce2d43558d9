"""``GET /explain``: the last decision of each fleet, as JSON; ``GET /explain/replay``: all it was taken from.

Written by the loop, read by HTTP threads. The text is made when somebody asks for it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from sidecar.errors import SidecarError
from sidecar.http import Answer
from sidecar.secrets import mask
from worker_scaler.decision import Decision
from worker_scaler.lease import Standing
from worker_scaler.policies import Case
from worker_scaler.steps import Step

_CASE = TypeAdapter(Case)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """What is known of one fleet."""

    case: Case | None = None
    decision: Decision | None = None
    failure: str | None = None


class Explanations:
    """Keeps the last decision, and the last failure since, of each fleet."""

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._fleets: dict[str, _Last] = {}
        self._orphans: dict[str, int] = {}
        self._standing = Standing(is_writer=False)

    def decided(self, case: Case, decision: Decision) -> None:
        """Keep a decision; it replaces the last one."""
        self._fleets[case.fleet.name] = _Last(case=case, decision=decision)

    def failed(self, fleet: str, error: SidecarError) -> None:
        """Keep why the last decision could not be taken or carried out."""
        self._fleets[fleet] = replace(self._fleets.get(fleet, _Last()), failure=mask(str(error)))

    def orphans(self, tasks_by_queue: dict[str, int]) -> None:
        """Keep the queues that no fleet consumes."""
        self._orphans = tasks_by_queue

    def standing(self, standing: Standing) -> None:
        """Keep how this copy stands to the lease; who stands by decides nothing."""
        self._standing = standing

    def answer(self) -> Answer:
        """Return the decisions; called on an HTTP thread."""
        fleets = {name: _explained(last) for name, last in dict(self._fleets).items()}
        return _json(
            {
                "dry_run": self._dry_run,
                "role": _role(self._standing),
                "lease": {"holder": self._standing.holder, "term": self._standing.term},
                "orphan_queues": self._orphans,
                "fleets": fleets,
            }
        )

    def replay(self) -> Answer:
        """Return what each decision was taken from, for :func:`rebuild`; called on an HTTP thread."""
        cases = {name: last.case for name, last in dict(self._fleets).items()}
        return _json({name: _CASE.dump_python(case, mode="json") for name, case in cases.items() if case})


def rebuild(document: object) -> Case:
    """Return the case that one member of ``/explain/replay`` holds; deciding it again gives the same steps.

    Raises:
        ValueError: it is not such a document.
    """
    return _CASE.validate_python(document, strict=False)


def _explained(last: _Last) -> dict[str, Any]:
    case, decision = last.case, last.decision
    if case is None or decision is None:
        return {"failure": last.failure}
    occupancy = decision.occupancy
    return {
        "at": case.now.isoformat(),
        "why": decision.why.value,
        "meaning": decision.why.meaning,
        **asdict(decision.numbers),
        "steps": [_step(step) for step in decision.steps],
        "bound": decision.bound,
        "trouble": decision.trouble,
        "doubt": decision.doubt or None,
        "backoff_until": decision.memory.backoff.until.isoformat() if decision.memory.backoff else None,
        "unmatched_hosts": list(occupancy.unmatched_hosts) if occupancy else None,
        "busy_workers_tasks": dict(sorted(occupancy.tasks.items())) if occupancy else None,
        "silent_agent_workers": sorted(occupancy.silent_agents) if occupancy else None,
        "failure": last.failure,
    }


def _role(standing: Standing) -> str:
    if standing.is_writer:
        return "writer"
    return "only_adds" if standing.only_adds else "standby"


def _step(step: Step) -> dict[str, Any]:
    return {"step": type(step).__name__, **asdict(step)}


def _json(document: object) -> Answer:
    return Answer(body=json.dumps(document, indent=2).encode() + b"\n", content_type="application/json")
