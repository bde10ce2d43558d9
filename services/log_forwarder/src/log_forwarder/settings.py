"""What the log forwarder can be told, and what it refuses to be told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from sidecar.settings import JsonList, SidecarSettings


class ForwarderSettings(SidecarSettings):
    """Variables ``LOG_FORWARDER_…``. A name whose feature is missing is refused, never ignored."""

    model_config = SettingsConfigDict(env_prefix="LOG_FORWARDER_")

    stream: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[a-zA-Z0-9_.-]+$",
        description="Name of the Firehose delivery stream",
    )
    tail: JsonList = Field(
        default=[],
        description='Files to ship: JSON list of absolute globs, e.g. `["/opt/airflow/logs/**/*.log"]`; '
        "symbolic links behind the first wildcard are skipped",
    )
    forward: JsonList = Field(
        default=[], description="Fluent Forward listeners: JSON list of URLs. Not available yet: refused"
    )
    docker: bool = Field(
        default=False, description="Read containers from the Docker engine. Not available yet: refused"
    )
    stdin: bool = Field(
        default=False, description="Read lines from standard input. Not available yet: refused"
    )
    state_dir: Path = Field(
        default=Path("/var/lib/log-forwarder"),
        description="Where offsets are kept: a local volume that outlives the container, not NFS",
    )
    disk_budget_mib: int = Field(
        default=1024,
        ge=1,
        description="Most disk that spooled lines may take. Tailed files are their own spool and use none",
    )
    when_full: Literal["block", "drop_newest"] = Field(
        default="block",
        description="What happens to a pushed line when the budget is used up. Tailed files always wait",
    )
    format: Literal["json", "raw"] = Field(
        default="json",
        description="`json`: one JSON object a line, with source and metadata; `raw`: the bytes as they are",
    )
    compression: Literal["none", "gzip", "zstd"] = Field(
        default="none", description="How records are compressed. Only `none` yet: others are refused"
    )
    flush_seconds: float = Field(
        default=5.0, gt=0, le=900, description="The longest a line waits for its record to fill"
    )
    scan_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Pause between looks for new and grown files (longer when one look takes long)",
    )

    @field_validator("forward", "docker", "stdin")
    @classmethod
    def _input_exists(cls, value: list[str] | bool) -> list[str] | bool:
        if value:
            raise ValueError("this input is not available yet. Unset it; ship files with LOG_FORWARDER_TAIL")
        return value

    @field_validator("compression")
    @classmethod
    def _compression_exists(cls, value: str) -> str:
        if value != "none":
            raise ValueError("this compression is not available yet. Set it to none")
        return value

    @field_validator("tail")
    @classmethod
    def _globs_are_absolute(cls, value: list[str]) -> list[str]:
        for pattern in value:
            if not pattern.startswith("/"):
                raise ValueError(f"{pattern!r} is not absolute. Begin every glob with /")
            if ".." in pattern.split("/"):
                raise ValueError(f"{pattern!r} holds '..'. Name the directory itself")
        return value

    @model_validator(mode="after")
    def _has_an_input(self) -> Self:
        if not self.tail:
            raise ValueError("LOG_FORWARDER_TAIL: names no file, so there is nothing to ship. Give it a glob")
        return self
