"""The policies that a simulation compares: what ships, and the same with each part of it switched off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from worker_scaler.fleet_settings import DEFAULT_WINDOW
from worker_scaler.simulate.scaler import ScalerController
from worker_scaler.simulate.shipped import shipped_fleet

if TYPE_CHECKING:
    from worker_scaler.model import Fleet
    from worker_scaler.simulate.experiment import MakeController
    from worker_scaler.simulate.world import Terms

PROTECTION_ONLY_WINDOW = timedelta(seconds=120)
PROMPT_DRAIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One way to steer the simulated service.

    Attributes:
        meaning: one line for people.
        controller: builds who steers a world; can be handed to another process.
    """

    name: str
    meaning: str
    controller: MakeController


def scaler_policies(terms: Terms, *, max_workers: int) -> tuple[Policy, ...]:
    """Return the scaler as it ships, and with parts switched off."""
    fleet = shipped_fleet(tasks_per_worker=terms.tasks_per_worker, max_workers=max_workers)
    foresight = fleet.foresight
    if foresight is None or fleet.agent_port is None:
        raise AssertionError("what ships has agents and foresight")
    without_agents = replace(fleet, agent_port=None, packing=None, scale_in_window=DEFAULT_WINDOW)
    protection_only = replace(without_agents, foresight=None, scale_in_window=PROTECTION_ONLY_WINDOW)
    return (
        _of("default", "what ships, with the agent in the workers", fleet),
        _of(
            "protection_only",
            "exact count, busy workers protected, 120 s window; nothing else",
            protection_only,
        ),
        _of(
            "no_agents",
            "what ships, without the agent: no cordon, idleness from the database",
            without_agents,
        ),
        _of("no_packing", "surplus workers are cordoned only to be released", replace(fleet, packing=None)),
        _of(
            "prescale_early",
            "hardly anybody waits: workers are ordered with slow starts in mind (p90), nearly a slot a task",
            replace(fleet, foresight=replace(foresight, lead_quantile=0.9, prescale_drain=PROMPT_DRAIN)),
        ),
        _of(
            "no_prescaling",
            "known cron runs are not waited for",
            replace(fleet, foresight=replace(foresight, prescale=False)),
        ),
        _of(
            "no_later_stages",
            "only the first stage of known cron runs is waited for",
            replace(fleet, foresight=replace(foresight, later_stages=False)),
        ),
        _of(
            "no_drain",
            "every task counts as a whole slot, however soon it ends",
            replace(fleet, foresight=replace(foresight, drain=timedelta(0))),
        ),
        _of(
            "no_order",
            "who is cordoned and released first is not chosen by remaining time",
            replace(fleet, foresight=replace(foresight, order=False)),
        ),
        _of("no_foresight", "nothing is predicted", replace(fleet, foresight=None)),
    )


def _of(name: str, meaning: str, fleet: Fleet) -> Policy:
    return Policy(name=name, meaning=meaning, controller=partial(ScalerController, fleet))
