"""What the agent can be told. The names are a contract: other people's task definitions carry them."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from dags_agent.globs import refuse_unusable
from sidecar.settings import JsonList, SidecarSettings

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SCHEME = "s3://"

# DAGS_AGENT_VALIDATE is a contract, and hides pydantic's deprecated `BaseModel.validate`, which nobody calls.
warnings.filterwarnings("ignore", message='Field name "validate" in', category=UserWarning)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUrl:
    """Where the files come from.

    Attributes:
        bucket: its name.
        prefix: empty, or ending in ``/``, so that ``dags`` never means ``dags-old/``.
    """

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> SourceUrl:
        """Read ``s3://bucket/prefix``; raises ValueError."""
        bucket, _, prefix = text.removeprefix(_SCHEME).partition("/")
        if not text.startswith(_SCHEME) or not _BUCKET.fullmatch(bucket):
            raise ValueError("must look like s3://bucket/prefix/")
        return cls(bucket=bucket, prefix=prefix if not prefix or prefix.endswith("/") else f"{prefix}/")

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}"


class DagsAgentSettings(SidecarSettings):
    """The settings of dags-agent."""

    model_config = SettingsConfigDict(env_prefix="DAGS_AGENT_")

    source: str = Field(description="Where the files come from: `s3://bucket/prefix/`")
    target: Path = Field(
        description="Directory to publish into, on the EFS mount; readers use `<target>/current`"
    )
    interval_seconds: float = Field(
        default=30.0, gt=0, description="From the start of one look at S3 to the start of the next"
    )
    publish: Literal["release", "in_place"] = Field(
        default="release",
        description=(
            "`release`: whole releases behind the symlink `current`; "
            "`in_place` is not available in this version"
        ),
    )
    events_queue_url: str | None = Field(
        default=None, description="SQS queue with S3 event notifications; not available in this version"
    )
    keep_releases: int = Field(
        default=3, ge=1, description="How many of the newest releases are kept, the live one included"
    )
    keep_hours: float = Field(
        default=24.0,
        ge=0,
        description="A replaced release is kept at least this long: readers may still be in it",
    )
    max_delete_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A listing that lacks more than this share of the live files is refused",
    )
    include: JsonList = Field(
        default_factory=list, description="Globs of the files to publish (JSON list); empty means all"
    )
    exclude: JsonList = Field(
        default_factory=list,
        description="Globs of files to leave out (JSON list); `__pycache__/` and `*.pyc` always are",
    )
    validate: Literal["off", "compile"] = Field(  # type: ignore[assignment]  # see the filter above
        default="off", description="`compile`: publish only when every changed `.py` compiles"
    )
    max_concurrency: int = Field(
        default=32, ge=1, le=256, description="Downloads, and file operations, in flight at once"
    )
    sync_timeout_seconds: float = Field(
        default=600.0, gt=0, description="A pass that takes longer is cancelled and tried again"
    )

    @field_validator("source")
    @classmethod
    def _source_is_an_s3_url(cls, text: str) -> str:
        return str(SourceUrl.parse(text))

    @field_validator("include", "exclude")
    @classmethod
    def _globs_are_usable(cls, patterns: list[str]) -> list[str]:
        refuse_unusable(patterns)
        return patterns

    @field_validator("publish")
    @classmethod
    def _publish_is_available(cls, mode: str) -> str:
        if mode == "in_place":
            raise ValueError("in_place is not available in this version; use release")
        return mode

    @field_validator("events_queue_url")
    @classmethod
    def _events_are_available(cls, url: str | None) -> str | None:
        if url:
            raise ValueError("is not available in this version; unset it, the timer finds every change")
        return url

    @property
    def source_url(self) -> SourceUrl:
        """The source, parsed."""
        return SourceUrl.parse(self.source)
