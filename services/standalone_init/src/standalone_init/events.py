"""What standalone_init tells: one function, one log line, one metric."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.errors import SidecarError
from sidecar.telemetry import Telemetry
from standalone_init.lock import Holder
from standalone_init.objects.difference import Change
from standalone_init.plan import Step
from standalone_init.report import Outcome
from standalone_init.state import DatabaseState, Image
from standalone_init.watch import Blocker
from standalone_init.writers.model import Memory, Remaining
from standalone_init.writers.sessions import Session

_STEP_BUCKETS_SECONDS = (0.01, 0.1, 1, 5, 15, 60, 300, 1800)


class Events:
    """The narrator of one process."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._log = telemetry.log
        self._pending = telemetry.gauge("pending_revisions", "Revisions between the database and the image")
        self._unreachable = telemetry.counter("database_unreachable_total", "Failed tries to connect")
        self._waits = telemetry.counter("lock_waits_total", "Times a held lock was reported", ["whom"])
        self._planned = telemetry.gauge("planned_steps", "Steps between what is and what is wanted")
        self._steps = telemetry.histogram(
            "step_duration_seconds", "How long a step took", _STEP_BUCKETS_SECONDS, ["step"]
        )
        self._lines = telemetry.counter("airflow_lines_total", "Lines that Airflow wrote")
        self._distrusted = telemetry.counter(
            "migrate_retries_total", "Migrations that ended without reaching the head"
        )
        self._revisions = telemetry.counter("revisions_total", "Revisions that were seen to be committed")
        self._blocked = telemetry.counter("migration_blocked_total", "Times a migration was seen to wait")
        self._old_transactions = telemetry.gauge(
            "old_transactions", "Open transactions found before a migration that it may have to wait for"
        )
        self._objects = telemetry.counter("objects_changed_total", "Objects changed", ["action", "kind"])
        self._stopped = telemetry.counter("writers_stopped_total", "Services whose count was set to 0")
        self._started = telemetry.counter("writers_started_total", "Services that have their count again")
        self._left_stopped = telemetry.counter(
            "writers_left_stopped_total", "Failed runs after which the writers stay stopped"
        )
        self._draining = telemetry.gauge("draining_tasks", "Tasks of stopped services that have not ended")
        self._connected = telemetry.gauge(
            "sessions_after_drain", "Sessions of other programs on the database when the writers had ended"
        )
        self._snapshots = telemetry.counter("snapshots_total", "Snapshots by what was done", ["action"])
        self._snapshot_percent = telemetry.gauge("snapshot_progress_ratio", "How far the snapshot is")
        self._not_ready = telemetry.counter("source_not_ready_total", "Times RDS was busy otherwise")
        self._unreported = telemetry.counter("reports_not_written_total", "Failed runs without a report")
        self._runs = telemetry.counter("runs_total", "Runs by outcome", ["outcome"])

    def observed(self, state: DatabaseState, image: Image) -> None:
        """The state of the database was read."""
        self._pending.set(state.pending)
        self._log.info(
            "observed",
            state=str(state),
            why=state.why,
            revisions=sorted(state.revisions),
            heads=sorted(state.heads),
            airflow_version=image.airflow_version,
        )

    def unreachable(self, why: str, pause_seconds: float) -> None:
        """The database does not answer yet."""
        self._unreachable.inc()
        self._log.warning("database_unreachable", why=why, retry_in_seconds=round(pause_seconds, 1))

    def waiting(self, whom: str, holder: Holder | None, waited_seconds: float) -> None:
        """Another one holds the lock."""
        self._waits.labels("airflow" if "airflow db" in whom else "standalone-init").inc()
        self._log.info(
            "waiting_for_lock",
            whom=whom,
            holder=str(holder or "unknown"),
            waited_seconds=round(waited_seconds, 1),
        )

    def nothing_to_do(self) -> None:
        """Everything is as it is wanted; nothing was written."""
        self._planned.set(0)
        self._log.info("nothing_to_do")

    def planned(self, steps: Sequence[Step]) -> None:
        """A dry run ends here."""
        self._planned.set(len(steps))
        self._log.info("planned", would=[str(step) for step in steps])

    def no_impact_until_here(self, steps: Sequence[Step]) -> None:
        """Everything before this line only read; what follows writes."""
        self._planned.set(len(steps))
        self._log.info("no_impact_until_here", next=[str(step) for step in steps])

    def step_done(self, step: Step, duration_seconds: float) -> None:
        """A step is done; what it claims is verified at the end."""
        self._steps.labels(step.name).observe(duration_seconds)
        self._log.info(
            "step_done", step=step.name, did=str(step), duration_seconds=round(duration_seconds, 3)
        )

    def objects_changed(self, changes: Sequence[Change]) -> None:
        """Objects were made, changed or removed, and read again."""
        for change in changes:
            self._objects.labels(change.action, change.kind).inc()
            self._log.info("object_changed", action=change.action, kind=change.kind, key=change.key)

    def airflow_said(self, line: str) -> None:
        """A line of Airflow's own output."""
        self._lines.inc()
        self._log.info("airflow", line=line)

    def revision_reached(self, revision: str) -> None:
        """The running migration committed another revision."""
        self._revisions.inc()
        self._log.info("revision_reached", revision=revision)

    def blocked(self, blockers: Sequence[Blocker]) -> None:
        """The running migration waits for other sessions' transactions."""
        self._blocked.inc()
        self._log.warning(
            "migration_blocked",
            by=[str(blocker) for blocker in blockers],
            to_do="end these transactions, or stop their programs",
        )

    def in_the_way(self, blockers: Sequence[Blocker]) -> None:
        """Transactions were found that a migration beginning now would have to wait for."""
        self._old_transactions.set(len(blockers))
        if blockers:
            self._log.warning("old_transactions", found=[str(blocker) for blocker in blockers])

    def migrate_again(self, exit_code: int, state: DatabaseState, in_the_way: str) -> None:
        """Airflow ended because a lock was not free, and the database is not where it should be."""
        self._distrusted.inc()
        self._log.warning(
            "migrate_again",
            airflow_exit_code=exit_code,
            state=str(state),
            why=state.why,
            in_the_way=in_the_way or "gone already",
        )

    def writer_stopped(self, memory: Memory) -> None:
        """A service's desired count was set to 0; what it was is remembered."""
        self._stopped.inc()
        self._log.info("writer_stopped", service=str(memory.service), desired_before=memory.desired)

    def writer_started(self, memory: Memory, *, found: int | None) -> None:
        """A service is as it was before; one that is gone, or that somebody started, is left alone."""
        self._started.inc()
        told = self._log.info if found == 0 else self._log.warning
        told("writer_started", service=str(memory.service), desired=memory.desired, found=found)

    def writers_left_stopped(self, why: str) -> None:
        """The run failed where its writers cannot work: they stay stopped."""
        self._left_stopped.inc()
        self._log.error("writers_left_stopped", why=why, to_do="run again, or standalone-init start-writers")

    def draining(self, remaining: Sequence[Remaining], waited_seconds: float) -> None:
        """Tasks of the stopped services are still ending."""
        self._draining.set(len(remaining))
        self._log.info(
            "draining",
            remaining=[str(task) for task in remaining],
            waited_seconds=round(waited_seconds, 1),
        )

    def still_connected(self, sessions: Sequence[Session]) -> None:
        """All writers that were named have ended; who else is connected is perhaps another one."""
        self._draining.set(0)
        self._connected.set(len(sessions))
        if sessions:
            self._log.warning("still_connected", sessions=[str(session) for session in sessions])

    def snapshot_requested(self, name: str) -> None:
        """A snapshot was asked for."""
        self._snapshots.labels("requested").inc()
        self._log.info("snapshot_requested", snapshot=name)

    def snapshot_found(self, name: str) -> None:
        """An earlier try of this upgrade has asked for its snapshot."""
        self._snapshots.labels("found").inc()
        self._log.info("snapshot_found", snapshot=name)

    def snapshot_removed(self, name: str) -> None:
        """A snapshot of an earlier upgrade was removed."""
        self._snapshots.labels("removed").inc()
        self._log.info("snapshot_removed", snapshot=name)

    def snapshots_not_removed(self, error: SidecarError) -> None:
        """The upgrade is done, and snapshots of earlier ones could not be removed."""
        self._snapshots.labels("not_removed").inc()
        self._log.warning("snapshots_not_removed", what=error.what, why=error.why, to_do=error.remedy)

    def snapshot_progress(self, name: str, status: str, percent: int) -> None:
        """The snapshot is further than it was."""
        self._snapshot_percent.set(percent / 100)
        self._log.info("snapshot_progress", snapshot=name, status=status, percent=percent)

    def source_not_ready(self, source: str, status: str) -> None:
        """RDS is busy with something else."""
        self._not_ready.inc()
        self._log.info("source_not_ready", source=source, status=status)

    def report_not_written(self, error: SidecarError) -> None:
        """The run failed, and its report could not be written either."""
        self._unreported.inc()
        self._log.warning("report_not_written", what=error.what, why=error.why, to_do=error.remedy)

    def finished(self, outcome: Outcome, duration_seconds: float) -> None:
        """The run ended."""
        self._runs.labels(outcome).inc()
        self._log.info("finished", outcome=outcome, duration_seconds=round(duration_seconds, 3))
