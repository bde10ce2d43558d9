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
from dags_agent.ownership import Owner
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
            "`in_place`: the target itself is a plain directory (the README says what that cannot promise)"
        ),
    )
    events_queue_url: str | None = Field(
        default=None,
        description="SQS queue with S3 notifications (direct, by SNS or EventBridge) that wake a pass",
    )
    quiet_seconds: float = Field(
        default=0.5,
        ge=0,
        description="A pass begins when no event came for so long: an upload is one release",
    )
    quiet_max_seconds: float = Field(
        default=30.0, gt=0, description="Events that never pause are not waited for longer than this"
    )
    settle_seconds: float = Field(
        default=2.0,
        ge=0,
        description=(
            "A listing whose newest object is younger is listed again after this time and must be the same; "
            "0 publishes at once"
        ),
    )
    marker: str | None = Field(
        default=None,
        description=(
            "Key below the source that a deployer writes last, e.g. `_release.json`: nothing is published "
            "before it changed; it is no file of the release"
        ),
    )
    keep_releases: int = Field(
        default=3, ge=1, description="How many of the newest releases are kept, the live one included"
    )
    keep_hours: float = Field(
        default=24.0,
        ge=0,
        le=24 * 365 * 100,
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
    validate_timeout_seconds: float = Field(
        default=60.0, gt=0, description="A file that takes the compiler longer is refused as broken"
    )
    unsafe_keys: Literal["skip", "refuse"] = Field(
        default="skip",
        description=(
            "A key that cannot become a file: `skip` leaves it out, tells, and publishes the rest; "
            "`refuse` publishes nothing"
        ),
    )
    max_file_bytes: int = Field(
        default=1 << 28, ge=1, description="A larger object is left out, told, and the rest published"
    )
    max_files: int = Field(
        default=200_000, ge=1, description="A listing with more is refused: more often a wrong prefix"
    )
    verify_interval_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="How often the bytes of the live release are hashed again, besides at start; 0 never",
    )
    verify_mib_per_second: float = Field(
        default=8.0, gt=0, description="How fast at most; each file counts as 64 KiB more than it has"
    )
    stale_after_seconds: float = Field(
        default=900.0,
        ge=0,
        description="Unready when what S3 has is kept back: by a guard, an agent, no marker; 0 never",
    )
    writer_lease_seconds: float = Field(
        default=30.0, ge=1, description="A publishing agent that is silent for so long is taken over"
    )
    owner: str = Field(
        default="50000:0",
        description="`uid:gid` of what a root agent publishes; by default the Airflow image's user",
    )
    umask: str = Field(
        default="0022",
        pattern="^0?[0-7]{3}$",
        description="Octal; 0002 makes what is published group-writable",
    )
    s3_client: Literal["native", "botocore"] = Field(
        default="native",
        description=(
            "`native`: our own list and get, a tenth of the CPU; `botocore`: the AWS SDK for these too. "
            "Behind a proxy, and for directory buckets, the SDK is taken anyway"
        ),
    )
    max_concurrency: int = Field(
        default=64, ge=1, le=256, description="Downloads, and file operations, in flight at once"
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

    @field_validator("owner")
    @classmethod
    def _owner_is_two_numbers(cls, text: str) -> str:
        Owner.parse(text)
        return text

    @field_validator("marker")
    @classmethod
    def _marker_is_a_key(cls, key: str | None) -> str | None:
        if key is not None and (key.startswith("/") or key.endswith("/")):
            raise ValueError("must be a key below the source, like _release.json")
        return key or None

    @field_validator("events_queue_url")
    @classmethod
    def _queue_is_a_url(cls, url: str | None) -> str | None:
        if url and not url.startswith(("https://", "http://")):
            raise ValueError("must be the queue's URL, https://sqs.<region>.amazonaws.com/<account>/<name>")
        return url or None

    @property
    def source_url(self) -> SourceUrl:
        """The source, parsed."""
        return SourceUrl.parse(self.source)
