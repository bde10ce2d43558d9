"""What the log forwarder can be told, and what it refuses to be told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from log_forwarder.forward.addresses import parse
from log_forwarder.inputs.globs import Pattern
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
    logpipe: JsonList = Field(
        default=[],
        description="Directories that `logpipe` writes to: JSON list. Its segments are shipped, and removed "
        "when they are closed and shipped whole",
    )
    forward: JsonList = Field(
        default=[],
        description="Where to listen for Fluent Forward (FireLens, Docker, Fluent Bit): JSON "
        'list like `["unix:///var/run/fluent.sock","tcp://0.0.0.0:24224"]`',
    )
    forward_shared_key: SecretStr | None = Field(
        default=None,
        description="Forward clients must know this key (not FireLens and Docker: they have no handshake)",
    )
    forward_shared_key_secret_id: str | None = Field(
        default=None, description="The same, by the id of a Secrets Manager secret"
    )
    docker: bool = Field(default=False, description="Follow the logs of containers of a Docker engine")
    docker_url: str = Field(
        default="unix:///var/run/docker.sock",
        pattern=r"^(unix:///|tcp://|https?://)",
        description="Where that engine answers",
    )
    docker_labels: JsonList = Field(
        default=["logs.forward=true"],
        description="Which containers: those with all of these labels, `name` or `name=value`. `[]`: all",
    )
    stdin: bool = Field(
        default=False,
        description="Ship standard input. When it is the only input, the end of it is the end of the run",
    )
    ui_url: str = Field(
        default="",
        pattern=r"^$|^s3://[a-z0-9.-]{3,63}(/.*)?$",
        description="Airflow's `[logging] remote_base_log_folder`: task logs are written there as segments "
        "too, so that the UI shows them while the task runs, and after its worker was killed. Empty: off",
    )
    ui_kms_key_id: str = Field(
        default="", description="KMS key for objects in `UI_URL`. Empty: the account's `aws/s3` key"
    )
    ui_base_log_folder: str = Field(
        default="/opt/airflow/logs",
        pattern=r"^/",
        description="Airflow's `[logging] base_log_folder`, as the forwarder sees it",
    )
    redact: bool = Field(
        default=False,
        description="Mask what looks like a secret: AWS keys, JSON Web Tokens, Fernet tokens, `password=`, "
        "credentials in URIs",
    )
    multiline: bool = Field(
        default=False,
        description="Join lines of text that belong together, such as tracebacks (not in task logs, whose "
        "lines are whole)",
    )
    level: Literal["", "debug", "info", "warning", "error", "critical"] = Field(
        default="", description="Leave out lines that are certainly below this level"
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
    format: Literal["envelope", "json", "raw"] = Field(
        default="json",
        description="`json`: one JSON object a line, with where it came from; `envelope`: the lines as they "
        "are, and before each run of them one JSON line that says where they came from (least CPU); `raw`: "
        "the lines alone",
    )
    compression: Literal["none", "gzip", "zstd"] = Field(
        default="none",
        description="How records are compressed. With `gzip` or `zstd` leave the stream's own compression "
        "off, add no delimiter, and set its `FileExtension` to `.ndjson.gz` or `.ndjson.zst`",
    )
    flush_seconds: float = Field(
        default=5.0,
        gt=0,
        le=900,
        description="How long a line waits for its record to fill; up to twelve times as long when enough "
        "is coming to save on Firehose's 5 KB rounding",
    )
    scan_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Pause between looks for new and grown files where the kernel does not tell of them "
        "(longer when one look takes long)",
    )
    watch: Literal["auto", "poll"] = Field(
        default="auto",
        description="`auto`: the kernel tells of new lines (inotify); on NFS, EFS and FUSE files are looked "
        "for besides. `poll`: only look for them",
    )
    exclude: JsonList = Field(
        default=[],
        description="Files not to ship, though `TAIL` names them: JSON list of absolute globs",
    )
    open_files_max: int = Field(
        default=1024,
        ge=16,
        le=1_000_000,
        description="Most files held open, so that last lines can be read although they are removed",
    )
    delete_after_hours: float = Field(
        default=0,
        ge=0,
        description="Delete local files this long after their last change, once they are shipped whole. "
        "0: never",
    )
    memory_mib: int = Field(
        default=64,
        ge=16,
        le=4096,
        description="Memory for records on their way; also how many calls there are at a time: one for "
        "each 16 MiB, up to 8",
    )
    quota_mib_per_second: float = Field(
        default=0,
        ge=0,
        description="This forwarder's share of the stream's quota of bytes. 0: it is found out",
    )
    overflow_url: str = Field(
        default="",
        pattern=r"^$|^s3://[a-z0-9.-]{3,63}(/.*)?$",
        description="`s3://bucket/prefix/` for what Firehose cannot take: in a long outage, and when the "
        "stop timeout is nearly over. Empty: it waits on disk",
    )
    overflow_kms_key_id: str = Field(
        default="", description="KMS key for objects in `OVERFLOW_URL`. Empty: the account's `aws/s3` key"
    )
    overflow_after_seconds: float = Field(
        default=600, ge=0, description="How long Firehose may take nothing before `OVERFLOW_URL` is used"
    )

    @field_validator("logpipe")
    @classmethod
    def _directories_are_plain(cls, value: list[str]) -> list[str]:
        for directory in value:
            if not directory.startswith("/") or set(directory) & set("*?["):
                raise ValueError(f"{directory!r} is no absolute path of a directory")
        return value

    @field_validator("state_dir")
    @classmethod
    def _state_has_one_place(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(f"{str(value)!r} is not absolute: where it is would depend on who starts us")
        return value

    @field_validator("forward")
    @classmethod
    def _addresses_are_addresses(cls, value: list[str]) -> list[str]:
        for url in value:
            parse(url)
        return value

    @field_validator("tail", "exclude")
    @classmethod
    def _globs_are_absolute(cls, value: list[str]) -> list[str]:
        for pattern in value:
            if not pattern.startswith("/"):
                raise ValueError(f"{pattern!r} is not absolute. Begin every glob with /")
            if ".." in pattern.split("/"):
                raise ValueError(f"{pattern!r} holds '..'. Name the directory itself")
            if "[:" in pattern:
                raise ValueError(f"{pattern!r} holds a character class. Write the range, e.g. [a-z]")
            try:
                Pattern(pattern)
            except re.error as err:
                raise ValueError(f"{pattern!r} is no glob: {err}") from err
        return value

    @model_validator(mode="after")
    def _has_an_input(self) -> Self:
        if not (self.tail or self.logpipe or self.forward or self.docker or self.stdin):
            raise ValueError(
                "LOG_FORWARDER_TAIL: names no file, and there is no other input. Give it a glob, or set "
                "LOG_FORWARDER_LOGPIPE, LOG_FORWARDER_FORWARD, LOG_FORWARDER_DOCKER or LOG_FORWARDER_STDIN"
            )
        if self.forward_shared_key and self.forward_shared_key_secret_id:
            raise ValueError(
                "LOG_FORWARDER_FORWARD_SHARED_KEY: is given twice. Unset it, or ..._SHARED_KEY_SECRET_ID"
            )
        if (self.forward_shared_key or self.forward_shared_key_secret_id) and not self.forward:
            raise ValueError("LOG_FORWARDER_FORWARD_SHARED_KEY: does nothing without LOG_FORWARDER_FORWARD")
        if self.overflow_kms_key_id and not self.overflow_url:
            raise ValueError("LOG_FORWARDER_OVERFLOW_KMS_KEY_ID: does nothing without ..._OVERFLOW_URL")
        return self
