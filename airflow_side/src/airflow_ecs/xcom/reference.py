"""What stands in Airflow's database for a value in S3: a JSON object that people can read. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from airflow_ecs.xcom.errors import XComReferenceRefused

MARK = "__airflow_ecs_xcom__"
FORMAT = 1
Encryption = Literal["sse-kms", "aes-256-gcm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Which bytes a value is, and how to make the value of them again.

    Attributes:
        bucket, key: of the object.
        version_id: None on a bucket without versioning.
        sha256: of the stored bytes, in hex. Not of the value: of a short secret it would tell the secret.
        size: of the stored bytes.
        encryption: ``sse-kms`` by S3; ``aes-256-gcm`` by ourselves as well
            (:mod:`airflow_ecs.xcom.envelope`).
        content_type: what the value is (:mod:`airflow_ecs.xcom.content`).
        content_encoding: ``gzip``, ``zstd`` or None.
        context: whose value it is; its object lies at the key that follows from it.
        name: of a file that is the value, without its directory.
    """

    bucket: str
    key: str
    version_id: str | None
    sha256: str
    size: int
    encryption: Encryption
    content_type: str
    content_encoding: str | None
    context: dict[str, str]
    name: str | None = None

    @property
    def where(self) -> str:
        """For the texts of errors."""
        version = f" version {self.version_id}" if self.version_id else ""
        return f"s3://{self.bucket}/{self.key}{version}"

    def to_json(self) -> dict[str, Any]:
        """Return what goes into the database."""
        document: dict[str, Any] = {
            MARK: FORMAT,
            "uri": f"s3://{self.bucket}/{quote(self.key)}",
            "version_id": self.version_id,
            "sha256": self.sha256,
            "size": self.size,
            "encryption": self.encryption,
            "content_type": self.content_type,
            "content_encoding": self.content_encoding,
            "context": self.context,
        }
        return {**document, "name": self.name} if self.name is not None else document


def is_reference(value: object) -> bool:
    """Whether a value of the database is a reference, or looks like one."""
    return isinstance(value, dict) and MARK in value


def parse(document: dict[str, Any]) -> Reference:
    """Return the reference that a value of the database is.

    Raises:
        XComReferenceRefused: it is none that this code can follow; a retry does not help.
    """
    if document.get(MARK) != FORMAT:
        raise XComReferenceRefused(
            f"The XCom is a reference of format {document.get(MARK)!r}, this airflow-ecs reads {FORMAT}:"
            " install the"
            " airflow-ecs that wrote it, on all workers"
        )
    try:
        bucket, key = _place(document["uri"])
        reference = Reference(
            bucket=bucket,
            key=key,
            version_id=_text_or_none(document["version_id"]),
            sha256=_text(document["sha256"]),
            size=int(document["size"]),
            encryption=_encryption(document["encryption"]),
            content_type=_text(document["content_type"]),
            content_encoding=_text_or_none(document["content_encoding"]),
            context={_text(name): _text(value) for name, value in document["context"].items()},
            name=_text_or_none(document.get("name")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise XComReferenceRefused(
            f"The XCom looks like a reference of airflow-ecs and is none ({type(err).__name__}: {err}):"
            " somebody wrote"
            " it through the API. Write a plain value, or run the task again"
        ) from err
    return reference


def _place(uri: str) -> tuple[str, str]:
    url = urlsplit(uri)
    key = unquote(url.path.removeprefix("/"))
    if url.scheme != "s3" or not url.netloc or not key:
        raise ValueError("its uri is not s3://bucket/key")
    return url.netloc, key


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _encryption(value: object) -> Encryption:
    if value == "sse-kms":
        return "sse-kms"
    if value == "aes-256-gcm":
        return "aes-256-gcm"
    raise ValueError(f"encryption {value!r} is not known")
