"""What the scaler tells: one function per event, each one log line and its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from sidecar.errors import SidecarError
from sidecar.telemetry import Telemetry
from worker_scaler.decision import Decision, Why
from worker_scaler.model import Fleet
from worker_scaler.steps import Refusal


class Events:
    """The scaler's log lines and metrics.

    What lasts over many ticks (an unmatched host, an orphan queue, a failing fleet) is logged when it begins
    or changes; the metrics show it all the time.
    """

    def __init__(self, telemetry: Telemetry, fleets: Iterable[str]) -> None:
        self._log = telemetry.log
        fleet = ["fleet"]
        self._desired = telemetry.gauge("desired_workers", "Desired count after the last decision", fleet)
        self._running = telemetry.gauge("running_workers", "Workers that run", fleet)
        self._pending = telemetry.gauge("pending_workers", "Workers that are starting", fleet)
        self._busy = telemetry.gauge("busy_workers", "Workers that hold at least one task", fleet)
        self._protected = telemetry.gauge(
            "protected_workers", "Workers that are, or may be, protected from scale-in", fleet
        )
        self._demand = telemetry.gauge("demand_tasks", "Queued, running and restarting tasks", fleet)
        self._oldest = telemetry.gauge(
            "oldest_queued_age_seconds",
            "How long the oldest queued task has waited; 0 when none waits",
            fleet,
        )
        self._unmatched = telemetry.gauge(
            "unmatched_hosts", "Hosts with a running task that are no known worker; they stop scale-in", fleet
        )
        self._decisions = telemetry.counter("decisions_total", "Decisions by their reason", ["fleet", "why"])
        self._refusals = telemetry.counter(
            "protection_refusals_total", "Workers whose protection ECS did not change", fleet
        )
        self._failures = telemetry.counter("fleet_failures_total", "Ticks in which a fleet failed", fleet)
        self._lost = telemetry.counter(
            "tasks_lost_to_scale_in_total", "Tasks on workers that scale-in stopped; must stay 0", fleet
        )
        self._orphans = telemetry.gauge("orphan_tasks", "Tasks in queues that no fleet consumes")
        for name in fleets:
            for counter in (self._refusals, self._failures, self._lost):
                counter.labels(name)
        self._told: dict[tuple[str, str], object] = {}

    def decided(self, fleet: Fleet, decision: Decision) -> None:
        """A decision was taken; at info when it changes something."""
        numbers, name = decision.numbers, fleet.name
        self._decisions.labels(name, decision.why).inc()
        self._desired.labels(name).set(numbers.desired_after)
        self._running.labels(name).set(numbers.running_workers)
        self._pending.labels(name).set(numbers.pending_workers)
        self._protected.labels(name).set(numbers.protected_workers)
        if decision.occupancy is not None:
            self._busy.labels(name).set(numbers.busy_workers or 0)
            self._demand.labels(name).set(numbers.demand_tasks or 0)
            self._oldest.labels(name).set(numbers.oldest_queued_age_seconds or 0)
            self._unmatched.labels(name).set(len(decision.occupancy.unmatched_hosts))
            self._unmatched_hosts(fleet, decision.occupancy.unmatched_hosts)
        if decision.why is Why.STALE_READING and self._is_news(name, "stale", decision.why):
            self._log.warning("reading_stale", fleet=name, consequence="nothing is changed")
        elif decision.why not in (Why.STALE_READING, Why.NO_READING):
            self._told.pop((name, "stale"), None)
        told = self._log.info if decision.steps else self._log.debug
        steps = [str(step) for step in decision.steps]
        told("decided", fleet=name, why=decision.why.value, steps=steps, **asdict(numbers))

    def refused(self, fleet: Fleet, refusals: Sequence[Refusal]) -> None:
        """ECS did not change the protection of these workers; they are looked at again in the next tick."""
        for refusal in refusals:
            self._refusals.labels(fleet.name).inc()
            self._log.warning(
                "protection_refused",
                fleet=fleet.name,
                worker=refusal.arn,
                why=refusal.reason,
                consequence="no worker is released while one that stays is unprotected",
            )

    def lost(self, fleet: Fleet, tasks_by_worker: Mapping[str, int]) -> None:
        """Scale-in stopped workers that were seen busy."""
        for arn, tasks in tasks_by_worker.items():
            self._lost.labels(fleet.name).inc(tasks)
            self._log.error(
                "tasks_lost_to_scale_in",
                fleet=fleet.name,
                worker=arn,
                tasks=tasks,
                to_do="Look who else changes this service's desired count or clears its protections",
            )

    def failed(self, fleet: Fleet, error: SidecarError, *, is_raised: bool) -> None:
        """One fleet could not be steered in this tick; the others were.

        The error that ends the tick is told by the chassis: here it is only counted.
        """
        self._failures.labels(fleet.name).inc()
        if self._is_news(fleet.name, "failure", str(error)) and not is_raised:
            self._log.warning(
                "fleet_failed", fleet=fleet.name, what=error.what, why=error.why, to_do=error.remedy
            )

    def recovered(self, fleet: Fleet) -> None:
        """A fleet was steered; says so when it was not before."""
        if self._told.pop((fleet.name, "failure"), None) is not None:
            self._log.info("fleet_recovered", fleet=fleet.name)

    def orphans(self, tasks_by_queue: Mapping[str, int]) -> None:
        """Queues hold tasks, and no fleet consumes them."""
        self._orphans.set(sum(tasks_by_queue.values()))
        queues = sorted(tasks_by_queue)
        if self._is_news("", "orphans", queues or None) and queues:
            self._log.warning(
                "orphan_queues",
                tasks_by_queue=dict(tasks_by_queue),
                to_do="Add the queues to a fleet, or correct the DAGs that name them",
            )

    def blind_spots(self, spots: Sequence[str]) -> None:
        """A right is missing: what it would show is not counted."""
        if self._is_news("", "blind spots", tuple(spots) or None) and spots:
            self._log.warning(
                "blind_spots", not_counted=list(spots), to_do="Run what 'worker-scaler grant-sql' prints"
            )

    def _unmatched_hosts(self, fleet: Fleet, hosts: Sequence[str]) -> None:
        if self._is_news(fleet.name, "unmatched", tuple(hosts) or None) and hosts:
            self._log.warning(
                "unmatched_hosts",
                fleet=fleet.name,
                hosts=list(hosts),
                consequence="no worker of this fleet is released",
                to_do="Let Airflow's hostname_callable return what ECS knows: the task id or the address",
            )

    def _is_news(self, fleet: str, subject: str, fact: object) -> bool:
        """Remember what was told last of a subject; say whether this differs."""
        before = self._told.get((fleet, subject))
        self._told[(fleet, subject)] = fact
        return fact != before
