"""What the cache is told, by ``AIRFLOW_ECS_PARAMETERS_…`` variables. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_ecs.parameter_cache.errors import ParameterSettingsError

PREFIX = "AIRFLOW_ECS_PARAMETERS_"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """The settings of the cache.

    Attributes:
        ttl_seconds: how long a value is used without asking; less up to a fifth, by chance.
        negative_ttl_seconds: the same for "there is none".
        stale_if_error_seconds: how old a value may be that stands in for an answer.
        memory_directory: on a tmpfs, shared by the processes of a container; None is none.
        bucket, prefix: of the encrypted objects; an empty bucket is no such level.
        kms_key_id: what wraps their data keys.
    """

    ttl_seconds: float = 300.0
    negative_ttl_seconds: float = 60.0
    stale_if_error_seconds: float = 86_400.0
    memory_directory: str | None = "/dev/shm/airflow-ecs-parameters"  # noqa: S108  # its owner and mode are checked
    bucket: str = ""
    prefix: str = ""
    kms_key_id: str | None = None


def read(environ: Mapping[str, str]) -> CacheSettings:
    """Read the settings; raises ParameterSettingsError."""
    default = CacheSettings()
    url = urlsplit(environ.get(f"{PREFIX}S3_URL", ""))
    kms_key_id = environ.get(f"{PREFIX}KMS_KEY_ID") or None
    if url.geturl() and (url.scheme != "s3" or not url.netloc):
        raise ParameterSettingsError(f"{PREFIX}S3_URL is {url.geturl()!r}: set s3://bucket/prefix")
    if url.netloc and kms_key_id is None:
        raise ParameterSettingsError(
            f"{PREFIX}S3_URL needs {PREFIX}KMS_KEY_ID: values are never written unencrypted"
        )
    directory = environ.get(f"{PREFIX}MEMORY_DIRECTORY", default.memory_directory)
    return CacheSettings(
        ttl_seconds=_seconds(environ, "TTL_SECONDS", default.ttl_seconds),
        negative_ttl_seconds=_seconds(environ, "NEGATIVE_TTL_SECONDS", default.negative_ttl_seconds),
        stale_if_error_seconds=_seconds(environ, "STALE_IF_ERROR_SECONDS", default.stale_if_error_seconds),
        memory_directory=directory or None,
        bucket=url.netloc,
        prefix=url.path.strip("/"),
        kms_key_id=kms_key_id,
    )


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(PREFIX + name)
    try:
        found = default if not text else float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ParameterSettingsError(f"{PREFIX}{name} is {text!r}: set a number of seconds, 0 or more")
    return found
