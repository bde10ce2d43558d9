"""What the XCom store is told, by ``AIRFLOW_ECS_XCOM_…`` variables; all problems are said at once. No I/O."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_ecs.xcom.errors import XComSettingsError
from airflow_ecs.xcom.keys import MAX_PREFIX_BYTES

PREFIX = "AIRFLOW_ECS_XCOM_"
DEFAULT_MAX_BYTES = 512 * 1_048_576
_COMPRESSIONS = ("auto", "none", "gzip", "zstd")


@dataclass(frozen=True, slots=True, kw_only=True)
class XComSettings:
    """The settings of the store.

    Attributes:
        bucket, prefix: where values go; the prefix has no slash at its ends and may be empty.
        also_read: other (bucket, prefix) pairs whose references are followed: where the store was before.
        threshold_bytes: values of up to this many bytes of JSON stay in the database; 0 keeps none there.
        max_bytes: the largest value, before compression.
        kms_key_id: id, ARN or alias; None is the bucket's default key.
        bucket_key: S3 asks KMS once in a while, and not for every object.
        client_encrypted_dags: globs of DAG ids whose values are encrypted before they leave the task.
        compression: ``auto``, ``none``, ``gzip`` or ``zstd``.
        download_directory: where values that are files are put; None is the system's.
    """

    bucket: str
    prefix: str
    also_read: tuple[tuple[str, str], ...] = ()
    threshold_bytes: int = 0
    max_bytes: int = DEFAULT_MAX_BYTES
    kms_key_id: str | None = None
    bucket_key: bool = True
    client_encrypted_dags: tuple[str, ...] = ()
    compression: str = "auto"
    download_directory: str | None = None

    def is_client_encrypted(self, dag_id: str) -> bool:
        """Whether a DAG's values get the client-side envelope."""
        return any(fnmatch.fnmatchcase(dag_id, glob) for glob in self.client_encrypted_dags)

    def prefix_of(self, bucket: str, key: str) -> str | None:
        """Return the prefix of this store that a key lies under; None when it is none of ours."""
        for known, prefix in ((self.bucket, self.prefix), *self.also_read):
            if bucket == known and (not prefix or key.startswith(f"{prefix}/")):
                return prefix
        return None


def read(environ: Mapping[str, str]) -> XComSettings:
    """Read the settings.

    Raises:
        XComSettingsError: something is missing or wrong; every problem with its remedy.
    """
    return _Reading(environ).settings()


class _Reading:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def settings(self) -> XComSettings:
        place = self._place("URL", self._text("URL") or "")
        compression = self._text("COMPRESSION") or "auto"
        if compression not in _COMPRESSIONS:
            self._problems.append(
                f"{PREFIX}COMPRESSION is {compression!r}: set one of {', '.join(_COMPRESSIONS)}"
            )
        dags = self._list("CLIENT_ENCRYPTED_DAGS")
        kms_key_id = self._text("KMS_KEY_ID")
        if dags and kms_key_id is None:
            self._problems.append(
                f"{PREFIX}CLIENT_ENCRYPTED_DAGS needs {PREFIX}KMS_KEY_ID: the key that wraps the data keys"
            )
        settings = XComSettings(
            bucket=place[0],
            prefix=place[1],
            also_read=tuple(self._place("ALSO_READ", url) for url in self._list("ALSO_READ")),
            threshold_bytes=self._count("THRESHOLD_BYTES", 0),
            max_bytes=self._count("MAX_BYTES", DEFAULT_MAX_BYTES),
            kms_key_id=kms_key_id,
            bucket_key=self._flag("BUCKET_KEY"),
            client_encrypted_dags=dags,
            compression=compression,
            download_directory=self._text("DOWNLOAD_DIRECTORY"),
        )
        if self._problems:
            raise XComSettingsError(self._problems)
        return settings

    def _text(self, name: str) -> str | None:
        return self._environ.get(PREFIX + name, "").strip() or None

    def _place(self, name: str, url: str) -> tuple[str, str]:
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            self._problems.append(f"{PREFIX}{name} is {url!r}: set s3://bucket/prefix")
        elif len(prefix.encode()) > MAX_PREFIX_BYTES:
            self._problems.append(
                f"{PREFIX}{name} has a prefix of more than {MAX_PREFIX_BYTES} bytes: shorten it"
            )
        return parts.netloc, prefix

    def _count(self, name: str, default: int) -> int:
        text = self._text(name)
        if text is None:
            return default
        if not text.isdecimal():
            self._problems.append(f"{PREFIX}{name} is {text!r}: set a number of bytes")
            return default
        return int(text)

    def _flag(self, name: str) -> bool:
        text = (self._text(name) or "true").lower()
        if text not in {"true", "false"}:
            self._problems.append(f"{PREFIX}{name} is {text!r}: set true or false")
        return text != "false"

    def _list(self, name: str) -> tuple[str, ...]:
        text = self._text(name)
        try:
            found = json.loads(text) if text else []
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            self._problems.append(f'{PREFIX}{name} is {text!r}: set a JSON list of texts, such as ["a", "b"]')
            return ()
        return tuple(found)
