"""Real Airflow with its LocalExecutor, as processes."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from sidecar.testing.waiting import wait_until

from .workers import AIRFLOW_PYTHON, request

AIRFLOW = AIRFLOW_PYTHON.with_name("airflow")


class LocalAirflow:
    """Its components as processes; they end with the stack.

    Args:
        home: a directory of its own.
        database: the URL of an empty one.
        settings: more of the environment.
    """

    def __init__(self, home: Path, database: str, settings: Mapping[str, str], stack: ExitStack) -> None:
        self.home = home
        self.database = database
        self._components = stack.enter_context(ExitStack())
        self.notes = home / "notes"
        self.notes.touch()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.api = f"http://127.0.0.1:{probe.getsockname()[1]}"
        sqlalchemy = database.replace("postgresql://", "postgresql+psycopg2://", 1)
        self.environment = {
            "PATH": f"{AIRFLOW.parent}:{os.defpath}",
            "HOME": str(home),
            "NOTES": str(self.notes),
            "GO": str(home / "go"),
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.api}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sqlalchemy,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.api.rpartition(":")[2],
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            **settings,
        }

    def start(self, *more: str) -> None:
        migrated = self.command("db", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        for component in ("api-server", "scheduler", "dag-processor", *more):
            log = self._components.enter_context((self.home / f"{component}.log").open("wb"))
            process = subprocess.Popen(
                [AIRFLOW, component],
                env=self.environment, stdout=log, stderr=log, start_new_session=True, cwd=self.home,
            )  # fmt: skip
            self._components.callback(_end, process)
        wait_until(self._is_up, "the execution API", deadline_seconds=180)

    def stop(self) -> None:
        """End every component; what they wrote stays."""
        self._components.close()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(AIRFLOW, *arguments)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program with the environment of the components."""
        return subprocess.run(
            command,
            env=self.environment, check=False, capture_output=True, text=True, timeout=200, cwd=self.home,
        )  # fmt: skip

    def trigger(self, dag_id: str, run_id: str) -> None:
        wait_until(
            lambda: self.rows("select 1 from serialized_dag where dag_id = %s", dag_id),
            "the DAG",
            deadline_seconds=180,
        )
        triggered = self.command("dags", "trigger", dag_id, "--run-id", run_id)
        assert triggered.returncode == 0, triggered.stderr

    def finish(self, run_id: str) -> str:
        """Wait until a run is over; return its state."""

        def state() -> str:
            rows = self.rows("select state from dag_run where run_id = %s", run_id)
            return str(rows[0][0]) if rows and rows[0][0] in {"success", "failed"} else ""

        wait_until(state, f"the end of {run_id}", deadline_seconds=240)
        return state()

    def rows(self, statement: LiteralString, *values: str | None) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def lines(self) -> list[str]:
        return self.notes.read_text().splitlines()

    def logs(self) -> str:
        """The end of every component's log, for the text of a failure."""
        return "\n".join(f"{path}:\n{path.read_text()[-3000:]}" for path in self.home.glob("*.log"))

    def _is_up(self) -> bool:
        try:
            return request("GET", f"{self.api}/execution/health")[0] == 200
        except OSError:
            return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
