"""The demo as a user of Airflow's REST API, with the password that standalone_init made."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from demo.services import ADMIN

_TIMEOUT_SECONDS = 15


class AirflowApi:
    """Airflow's public API (v2)."""

    def __init__(self, url: str, passwords: Path) -> None:
        self._url = url
        self._passwords = passwords
        self._token = ""

    def is_up(self) -> bool:
        """Return whether it answers, for users and for tasks.

        The first call to the execution API builds its versions for seconds: better now than under the
        first task, whose client waits five.
        """
        try:
            self._call("GET", "/api/v2/version", None)
            self._call("GET", "/execution/health", None)
        except (urllib.error.URLError, OSError):
            return False
        return True

    def dags(self) -> set[str]:
        """Return the ids of the DAGs Airflow knows and has not marked stale."""
        answer = self._authorised("GET", "/api/v2/dags?limit=100", None)
        return {dag["dag_id"] for dag in answer["dags"] if not dag.get("is_stale")}

    def trigger(self, dag_id: str) -> str:
        """Start a run; return its id."""
        return str(
            self._authorised("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None})["dag_run_id"]
        )

    def _authorised(self, method: str, path: str, body: object) -> Any:
        if not self._token:
            password = json.loads(self._passwords.read_text())[ADMIN]
            answer = self._call("POST", "/auth/token", {"username": ADMIN, "password": password})
            self._token = answer["access_token"]
        return self._call(method, path, body)

    def _call(self, method: str, path: str, body: object) -> Any:
        request = urllib.request.Request(
            f"{self._url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {self._token}"} if self._token else {}),
            },
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return json.load(answer)
