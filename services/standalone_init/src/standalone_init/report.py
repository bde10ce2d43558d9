"""The JSON report of a run, for pipelines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sidecar.files import write_atomic
from sidecar.secrets import mask
from standalone_init.errors import FilesUnusable

Outcome = Literal["unchanged", "changed", "planned", "failed"]


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run found and did; filled while it goes on, so that a failed run tells how far it came."""

    started: datetime
    finished: datetime | None = None
    outcome: Outcome = "failed"
    exit_code: int = 1
    error: str = ""
    airflow_version: str = ""
    state_before: str = ""
    from_revisions: tuple[str, ...] = ()
    to_revisions: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    done: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the document; its keys are a contract."""
        document = {
            "version": 1,
            "started": self.started.isoformat(),
            "finished": self.finished.isoformat() if self.finished else None,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "error": mask(self.error),
            "airflow_version": self.airflow_version,
            "state_before": self.state_before,
            "from_revisions": list(self.from_revisions),
            "to_revisions": list(self.to_revisions),
            "planned": list(self.planned),
            "done": self.done,
        }
        return json.dumps(document, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Replace the report at ``path``.

        Raises:
            FilesUnusable: it cannot be written.
        """
        try:
            write_atomic(path, self.to_json().encode())
        except OSError as err:
            raise FilesUnusable(
                "The report cannot be written",
                why=f"{path}: {err.strerror}",
                remedy="Correct STANDALONE_INIT_REPORT",
            ) from err
