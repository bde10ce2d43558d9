"""The JSON report of a run, for pipelines: a file, an object in S3, and a row beside the run's own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sidecar.aws import Aws
from sidecar.files import write_atomic
from sidecar.secrets import mask
from standalone_init.aws_calls import asking
from standalone_init.errors import FilesUnusable
from standalone_init.writers.model import Memory

_S3 = "s3://"
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
    position_before: str = ""
    planned: tuple[str, ...] = ()
    snapshot: str = ""
    writers: tuple[Memory, ...] = ()
    done: list[dict[str, Any]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values; its keys are a contract."""
        return {
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
            "position_before": self.position_before,
            "planned": list(self.planned),
            "snapshot": self.snapshot or None,
            "writers": [
                {"service": str(memory.service), "desired": memory.desired} for memory in self.writers
            ],
            "done": list(self.done),
        }

    def write(self, place: str, aws: Aws) -> None:
        """Replace the report at ``place``.

        Args:
            place: a path, or ``s3://bucket/key``; there the bucket's own encryption applies.
            aws: used for the latter.

        Raises:
            FilesUnusable: the file cannot be written.
            SidecarError: the object cannot.
        """
        body = (json.dumps(self.document(), indent=2) + "\n").encode()
        if place.startswith(_S3):
            bucket, _, key = place.removeprefix(_S3).partition("/")
            with asking(f"Cannot write the report {place}"):
                aws.session.client("s3", config=aws.config()).put_object(
                    Bucket=bucket, Key=key, Body=body, ContentType="application/json"
                )
            return
        try:
            write_atomic(Path(place), body)
        except OSError as err:
            raise FilesUnusable(
                "The report cannot be written",
                why=f"{place}: {err.strerror}",
                remedy="Correct STANDALONE_INIT_REPORT",
            ) from err
