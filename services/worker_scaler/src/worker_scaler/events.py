"""What the scaler tells: one function per event, each one log line and its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from sidecar.errors import SidecarError
from sidecar.telemetry import Telemetry
from worker_scaler.agents import Answers
from worker_scaler.deaths import Cause
from worker_scaler.decision import HOLDS, Decision, Why
from worker_scaler.lease import Standing
from worker_scaler.losses import Death
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
        by_cause = ["fleet", "cause"]
        self._deaths = telemetry.counter("worker_deaths_total", "Workers that ended, by cause", by_cause)
        self._tasks_on_dead = telemetry.counter(
            "tasks_on_dead_workers_total", "Tasks that workers held when they ended, by cause", by_cause
        )
        self._holds = telemetry.gauge(
            "held", "1 while a decision is held back for this reason, else 0", ["fleet", "why"]
        )
        self._queued = telemetry.gauge("queued_tasks", "Tasks that wait for a worker", fleet)
        self._cordoned = telemetry.gauge("cordoned_workers", "Workers told not to take messages", fleet)
        self._silent = telemetry.gauge("silent_agents", "Workers whose agent does not answer", fleet)
        self._requests = telemetry.counter("api_requests_total", "Requests to ECS, by action", ["action"])
        self._deferred = telemetry.counter(
            "api_requests_deferred_total", "Requests to ECS left for later to keep to the budget", ["action"]
        )
        self._counted_requests: dict[tuple[str, str], int] = {}
        self._orphans = telemetry.gauge("orphan_tasks", "Tasks in queues that no fleet consumes")
        for name in fleets:
            for counter in (self._refusals, self._failures, self._lost):
                counter.labels(name)
            for cause in Cause:
                self._deaths.labels(name, cause)
                self._tasks_on_dead.labels(name, cause)
        self._writer = telemetry.gauge("writer", "1 where this copy holds the lease, 0 where it stands by")
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
            self._queued.labels(name).set(numbers.queued_tasks or 0)
            self._cordoned.labels(name).set(numbers.cordoned_workers or 0)
            self._oldest.labels(name).set(numbers.oldest_queued_age_seconds or 0)
            self._unmatched.labels(name).set(len(decision.occupancy.unmatched_hosts))
            self._unmatched_hosts(fleet, decision.occupancy.unmatched_hosts)
        if decision.why is Why.STALE_READING and self._is_news(name, "stale", decision.why):
            self._log.warning("reading_stale", fleet=name, consequence="nothing is changed")
        elif decision.why not in (Why.STALE_READING, Why.NO_READING):
            self._told.pop((name, "stale"), None)
        for why in HOLDS:
            self._holds.labels(name, why).set(1 if decision.why is why else 0)
        self._trouble(fleet, decision)
        told = self._log.info if decision.steps else self._log.debug
        steps = [str(step) for step in decision.steps]
        told(
            "decided",
            fleet=name,
            why=decision.why.value,
            steps=steps,
            bound=decision.bound,
            doubt=decision.doubt or None,
            **asdict(numbers),
        )

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

    def deaths(self, fleet: Fleet, deaths: Sequence[Death]) -> None:
        """Workers ended; those that scale-in stopped while they held tasks are the accident."""
        for death in deaths:
            self._deaths.labels(fleet.name, death.cause).inc()
            self._tasks_on_dead.labels(fleet.name, death.cause).inc(death.tasks)
            facts = {"fleet": fleet.name, "worker": death.arn, "tasks": death.tasks, "reason": death.reason}
            if death.cause is Cause.SCALE_IN and death.tasks:
                self._lost.labels(fleet.name).inc(death.tasks)
                self._log.error(
                    "tasks_lost_to_scale_in",
                    **facts,
                    to_do="Look who else changes this service's desired count or clears its protections",
                )
            elif death.tasks:
                self._log.warning(
                    "worker_died", **facts, cause=death.cause.value, consequence="Airflow retries its tasks"
                )

    def agents(self, fleet: Fleet, answers: Answers) -> None:
        """The agents of a fleet's workers were asked."""
        self._silent.labels(fleet.name).set(len(answers.failures))
        silent = tuple(sorted(answers.failures))
        if self._is_news(fleet.name, "silent", silent or None) and silent:
            self._log.warning(
                "agents_silent",
                fleet=fleet.name,
                workers=silent,
                why=answers.failures[silent[0]],
                consequence="these workers are not released",
                to_do="Look at the workers' agents, their port in the security group, and the token",
            )

    def requests(self, spent: Mapping[str, int], deferred: Mapping[str, int]) -> None:
        """So many requests to ECS were made, and left for later, since the start."""
        for kind, counter, totals in (
            ("spent", self._requests, spent),
            ("deferred", self._deferred, deferred),
        ):
            for action, total in totals.items():
                counter.labels(action).inc(total - self._counted_requests.get((kind, action), 0))
                self._counted_requests[(kind, action)] = total

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

    def history_failed(self, error: SidecarError) -> None:
        """Airflow's past could not be read; what was known of it is used on."""
        if self._is_news("", "history", str(error)):
            self._log.warning(
                "history_unknown",
                what=error.what,
                why=error.why,
                to_do=error.remedy,
                consequence="counts are exact; nothing new is predicted",
            )

    def history_read(self) -> None:
        """Airflow's past was read; says so when it could not be before."""
        if self._told.pop(("", "history"), None) is not None:
            self._log.info("history_read")

    def standing(self, standing: Standing) -> None:
        """How this copy stands to the lease; told when it changes, and by whom it is held."""
        self._writer.set(standing.is_writer)
        if not self._is_news("", "standing", standing):
            return
        if standing.only_adds:
            self._log.warning(
                "only_adding",
                consequence="workers are protected and counts raised; nobody is let go",
                to_do="Look at the store of the lease (the database, or LOCK_TABLE): it does not answer",
            )
            return
        told = "writing" if standing.is_writer else "standing_by"
        self._log.info(told, holder=standing.holder, term=standing.term)

    def _trouble(self, fleet: Fleet, decision: Decision) -> None:
        """The service cannot start workers, or can again."""
        if not self._is_news(fleet.name, "trouble", decision.trouble):
            return
        if decision.trouble is None:
            self._log.info("service_starts_workers_again", fleet=fleet.name)
        else:
            self._log.warning(
                "service_cannot_start_workers",
                fleet=fleet.name,
                service=fleet.service,
                reason=decision.trouble,
                consequence="its count is kept and not raised for more work, but after growing pauses",
                to_do="Mend what ECS names: the image, the secret, the subnet, the capacity, the deployment",
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
