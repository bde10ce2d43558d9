"""The story: an empty database, two releases, a burst, a long tail, back to zero, every line shipped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from demo import counting
from demo.airflow_api import AirflowApi
from demo.ecs import exit_code, was_killed
from demo.fleet import Fleet
from demo.services import (
    AIRFLOW_SERVICES,
    INIT,
    LOG_BUCKET,
    MAX_WORKERS,
    SIDECARS,
    WORKERS,
    airflow_services,
    init_task,
    sidecar_services,
)
from demo.stage import Stage, dag_files
from demo.timeline import Timeline
from demo.verdict import Observed

T = TypeVar("T")
_POLL_SECONDS = 0.2
_SECOND_RELEASE_DAGS = {"burst", "long_tail", "pipeline"}
_TASKS_EXPECTED = 10 + 2 + 2  # burst, long_tail, pipeline
_INIT_ATTEMPTS = 3
_KILLED = 137
_MIGRATIONS = """
    SELECT count(*) FROM airflow_ecs.init_run
    WHERE outcome = 'done' AND from_revision IS DISTINCT FROM to_revision
"""


@dataclass(slots=True)
class Scenario:
    """One run of the demo.

    Args:
        stage: the running machinery.
        timeline: where it is told.
        kill_sidecars: kill -9 each sidecar in the middle of its work.
    """

    stage: Stage
    timeline: Timeline
    kill_sidecars: bool
    killed: list[str] = field(default_factory=list)

    def play(self) -> Observed:
        """Play all of it and return what was measured.

        Raises:
            RuntimeError: a step did not happen within its deadline; the text names the step.
        """
        self._start_sidecars()
        self._upload_release(1)
        self._initialise_database()
        api = self._start_airflow()
        self._wait("Airflow parses release 1", lambda: api.dags() >= {*_SECOND_RELEASE_DAGS, "retired"}, 180)
        self._upload_release(2)
        self._wait("Airflow parses release 2", lambda: api.dags() == _SECOND_RELEASE_DAGS, 180)
        fleet = self._run_tasks(api)
        self._back_to_zero(fleet)
        self._end_services()
        return self._measure(fleet)

    # ------------------------------------------------------------ the chapters

    def _start_sidecars(self) -> None:
        """Start those that are there before Airflow is: the scaler needs the database and the fleet."""
        for service in sidecar_services(self.stage.layout, self.stage.at):
            if service.name != "worker-scaler":
                self.stage.ecs.create(service)

    def _initialise_database(self) -> None:
        task = init_task(self.stage.layout, self.stage.at)
        for _ in range(_INIT_ATTEMPTS):
            arn = self.stage.ecs.run(task)
            if self.kill_sidecars and INIT not in self.killed:
                self._kill_while_migrating(arn)
            self._wait_until_ended("standalone_init takes the empty database to ready", arn)
            code = exit_code(self.stage.ecs.task(arn))
            if code == 0:
                return
            self.timeline.say("demo", f"standalone_init ended with {code}: ECS would run it again, so do we")
            if code != _KILLED:
                break
        raise RuntimeError(f"standalone_init failed: {self._last_words(INIT)}")

    def _start_airflow(self) -> AirflowApi:
        for service in airflow_services(self.stage.layout, self.stage.at):
            self.stage.ecs.create(service)
        for service in sidecar_services(self.stage.layout, self.stage.at):
            if service.name == "worker-scaler":
                self.stage.ecs.create(service)
        api = AirflowApi(self.stage.at.api, self.stage.layout.passwords)
        self._wait("Airflow's API server starts", api.is_up, 180)
        return api

    def _upload_release(self, number: int) -> None:
        files = dag_files(release=number)
        self.stage.upload(files)
        self.timeline.say("demo", f"uploaded release {number} to S3: {len(files)} files")
        helper = self.stage.layout.dags / "current" / "shop" / "steps.py"
        wanted = files["shop/steps.py"]
        self._wait(
            f"dags_agent publishes release {number}",
            lambda: helper.exists() and helper.read_bytes() == wanted,
            60,
        )

    def _run_tasks(self, api: AirflowApi) -> Fleet:
        fleet = Fleet(self.stage, self.timeline)
        for dag_id in ("long_tail", "burst", "pipeline"):
            api.trigger(dag_id)
        self.timeline.say("demo", f"triggered {_TASKS_EXPECTED} tasks: a burst, a pipeline and a long tail")
        if self.kill_sidecars:
            self._until(fleet, "a task is running", lambda: fleet.states.get("running", 0) > 0, 180)
            for name in SIDECARS:
                self._kill(name)
        self._until(
            fleet,
            "all tasks are done",
            lambda: sum(fleet.states.get(state, 0) for state in ("success", "failed")) >= _TASKS_EXPECTED,
            420,
        )
        return fleet

    def _back_to_zero(self, fleet: Fleet) -> None:
        self._until(
            fleet,
            "the fleet returns to zero",
            lambda: fleet.counts.desired == 0 and self._is_gone(WORKERS),
            180,
        )

    def _end_services(self) -> None:
        """End what writes logs, then let log_forwarder ship the rest and end it with SIGTERM."""
        writers = [*AIRFLOW_SERVICES, "worker-scaler", "dags-agent"]
        for name in writers:
            self.stage.ecs.scale(name, 0)
        self._wait(
            "Airflow and the other sidecars stop", lambda: all(self._is_gone(name) for name in writers), 120
        )
        self.stage.ecs.scale("log-forwarder", 0)
        self._wait("log_forwarder drains and stops", lambda: self._is_gone("log-forwarder"), 90)

    def _measure(self, fleet: Fleet) -> Observed:
        self.timeline.say("demo", "counting log lines on both ends")
        wrote = counting.written(self._shipped_files())
        found = counting.arrived(self.stage.s3, LOG_BUCKET)
        for line in counting.differences(wrote, found.by_source):
            self.timeline.say("demo", f"differs: {line}")
        stopped = self.stage.ecs.stopped(WORKERS)
        (tried_again,) = self.stage.rows("SELECT count(*) FROM task_instance WHERE try_number > 1")[0]
        return Observed(
            tasks_expected=_TASKS_EXPECTED,
            tasks_succeeded=fleet.states.get("success", 0),
            tasks_failed=fleet.states.get("failed", 0),
            tasks_tried_again=int(str(tried_again)),
            workers_started=len(stopped),
            workers_killed=sum(was_killed(task) for task in stopped),
            queue_to_capacity_seconds=fleet.queue_to_capacity_seconds,
            peak_workers=fleet.peak_running,
            max_workers=MAX_WORKERS,
            released_while_busy=fleet.released_while_busy,
            workers_left=self.stage.ecs.counts(WORKERS).running,
            releases_expected=2,
            releases_published=self._releases(),
            tasks_on_wrong_release=self._tasks_on_other_release("release=2"),
            lines_written=sum(wrote.values()),
            lines_in_s3=found.distinct,
            lines_twice=found.twice,
            migrations=self._migrations(),
            sidecars_killed=sum(
                was_killed(task) for name in SIDECARS for task in self.stage.ecs.stopped(name)
            ),
        )

    # ------------------------------------------------------------ small questions

    def _kill_while_migrating(self, arn: str) -> None:
        def is_migrating() -> bool:
            return '"event": "airflow"' in self._last_words(INIT) or self._has_ended(arn)

        self._wait("standalone_init begins to migrate", is_migrating, 120)
        self._kill(INIT)

    def _wait_until_ended(self, what: str, arn: str) -> None:
        self._wait(what, lambda: self._has_ended(arn), 240)

    def _kill(self, name: str) -> None:
        pid = self.stage.ecs.kill_dash_nine(name)
        if pid is not None:
            self.killed.append(name)
            self.timeline.say("demo", f"kill -9 {name} (pid {pid})")

    def _has_ended(self, arn: str) -> bool:
        return self.stage.ecs.task(arn)["lastStatus"] == "STOPPED"

    def _is_gone(self, name: str) -> bool:
        """Return whether a service runs nothing, and what it ran has really ended."""
        counts = self.stage.ecs.counts(name)
        ended = all(task["lastStatus"] == "STOPPED" for task in self.stage.ecs.stopped(name))
        return counts.running == counts.pending == 0 and ended

    def _migrations(self) -> int:
        """Return how many runs of standalone_init recorded a migration."""
        (count,) = self.stage.rows(_MIGRATIONS)[0]
        return int(str(count))

    def _releases(self) -> int:
        releases = self.stage.layout.dags / "releases"
        return sum(1 for entry in os.scandir(releases) if entry.is_dir()) if releases.exists() else 0

    def _tasks_on_other_release(self, wanted: str) -> int:
        task_logs = self.stage.layout.airflow_logs.rglob("attempt=*.log")
        texts = [file.read_text(errors="replace") for file in task_logs]
        return sum(1 for text in texts if "release=" in text and wanted not in text)

    def _shipped_files(self) -> list[Path]:
        containers = self.stage.layout.container_logs.glob("*/*.log")
        own = [file for file in containers if file.parent.name != "log-forwarder"]
        airflow = self.stage.layout.airflow_logs.rglob("*.log")
        return [*own, *(file for file in airflow if file.resolve() == file.absolute())]

    def _last_words(self, name: str) -> str:
        files = sorted(
            (self.stage.layout.container_logs / name).glob("*.log"), key=lambda file: file.stat().st_mtime
        )
        return files[-1].read_text(errors="replace")[-3000:] if files else "it wrote nothing"

    # ------------------------------------------------------------ waiting

    def _until(self, fleet: Fleet, what: str, condition: Callable[[], bool], deadline_seconds: float) -> None:
        def look() -> bool:
            fleet.sample()
            return condition()

        self._wait(what, look, deadline_seconds)

    def _wait(self, what: str, condition: Callable[[], T], deadline_seconds: float) -> T:
        """Wait until ``condition`` is true while the sidecars' lines are relayed."""
        never = threading.Event()
        end = time.monotonic() + deadline_seconds
        self.timeline.waiting_for(what)
        try:
            while True:
                self.timeline.pump()
                value = condition()
                if value:
                    self.timeline.pump()
                    return value
                if time.monotonic() > end:
                    raise RuntimeError(f"did not happen within {deadline_seconds:g} s: {what}")
                never.wait(_POLL_SECONDS)
        finally:
            self.timeline.arrived()
