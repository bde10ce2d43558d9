"""Decide from plain numbers whether the demo's promises held. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was measured at the end, each from where it is true.

    Attributes:
        tasks_expected: task instances the triggered runs consist of.
        tasks_succeeded, tasks_failed: task instances by final state, from Airflow's database.
        tasks_tried_again: task instances that needed more than one try, from the same place.
        workers_started: worker tasks ECS ever started.
        workers_killed: worker tasks that ended by SIGKILL, from ECS.
        queue_to_capacity_seconds: from the first queued task to the wanted number of running workers.
        peak_workers, max_workers: the most that ran at once, and the fleet's limit.
        released_while_busy: workers let go while tasks were running on others.
        workers_left: running at the end.
        releases_expected, releases_published: uploads made, and releases dags_agent switched to.
        tasks_on_wrong_release: task logs that name another release than the one published.
        lines_written: lines in all log files of all services and tasks.
        lines_in_s3: distinct lines found in the bucket.
        lines_twice: lines found there more than once; allowed after a kill -9 alone.
        sidecars_killed: sidecars that ended by SIGKILL, whoever sent it, from ECS.
        migrations: runs of standalone_init that recorded a migration, from its own table.
    """

    tasks_expected: int
    tasks_succeeded: int
    tasks_failed: int
    tasks_tried_again: int
    workers_started: int
    workers_killed: int
    queue_to_capacity_seconds: float | None
    peak_workers: int
    max_workers: int
    released_while_busy: int
    workers_left: int
    releases_expected: int
    releases_published: int
    tasks_on_wrong_release: int
    lines_written: int
    lines_in_s3: int
    lines_twice: int
    migrations: int
    sidecars_killed: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the closing table."""

    what: str
    value: str
    holds: bool


def judge(seen: Observed) -> tuple[Row, ...]:
    """Return the closing table; the demo succeeded when every row holds."""
    capacity = seen.queue_to_capacity_seconds
    return (
        Row("database: migrations for one empty database", str(seen.migrations), seen.migrations == 1),
        Row(
            "releases: published / uploaded",
            f"{seen.releases_published} / {seen.releases_expected}",
            seen.releases_published >= seen.releases_expected,
        ),
        Row(
            "tasks that ran another release",
            str(seen.tasks_on_wrong_release),
            seen.tasks_on_wrong_release == 0,
        ),
        Row(
            "tasks: succeeded / expected",
            f"{seen.tasks_succeeded} / {seen.tasks_expected}",
            seen.tasks_succeeded == seen.tasks_expected > 0,
        ),
        Row("tasks: failed", str(seen.tasks_failed), seen.tasks_failed == 0),
        Row("tasks: killed and tried again", str(seen.tasks_tried_again), seen.tasks_tried_again == 0),
        Row(
            "workers: killed / started",
            f"{seen.workers_killed} / {seen.workers_started}",
            seen.workers_killed == 0 < seen.workers_started,
        ),
        Row(
            "workers: most at once / limit",
            f"{seen.peak_workers} / {seen.max_workers}",
            0 < seen.peak_workers <= seen.max_workers,
        ),
        Row(
            "time from first queued task to full capacity",
            "never" if capacity is None else f"{capacity:.1f} s",
            capacity is not None,
        ),
        Row(
            "idle workers released while tasks ran on others",
            str(seen.released_while_busy),
            seen.released_while_busy > 0,
        ),
        Row("workers left at the end", str(seen.workers_left), seen.workers_left == 0),
        Row(
            "log lines: written / found in S3",
            f"{seen.lines_written} / {seen.lines_in_s3}",
            seen.lines_written == seen.lines_in_s3 > 0,
        ),
        Row(
            "log lines found twice",
            str(seen.lines_twice),
            seen.lines_twice == 0 or seen.sidecars_killed > 0,
        ),
    )
