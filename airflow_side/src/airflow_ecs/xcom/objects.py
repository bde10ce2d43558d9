"""Objects in S3: written in one call or in parts, read as a stream, deleted by version; typed failures."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_ecs.xcom.errors import XComStoreError
from airflow_ecs.xcom.failures import of_answer, unreachable

PART_BYTES = 16_777_216  # 10,000 parts of it are 160 GB; two are held in memory
READ_BYTES = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What was written."""

    version_id: str | None
    sha256: str
    size: int


@contextlib.contextmanager
def told(doing: str, where: str) -> Iterator[None]:
    """Turn what botocore raises into a typed error."""
    from botocore.exceptions import (  # noqa: PLC0415  # heavy; only those who read or write pay for it
        BotoCoreError,
        ClientError,
        HTTPClientError,
    )
    from urllib3.exceptions import HTTPError  # noqa: PLC0415  # the same

    try:
        yield
    except ClientError as err:
        error = err.response.get("Error", {})
        status = int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code, message = str(error.get("Code", "")), str(error.get("Message", ""))
        raise of_answer(code, status, message, doing=doing, where=where) from err
    except (HTTPClientError, HTTPError, OSError) as err:
        raise unreachable(err, doing=doing, where=where) from err
    except BotoCoreError as err:
        raise XComStoreError(f"{doing} {where} failed: {type(err).__name__}: {err}") from err


class Objects:
    """The bucket, through one S3 client.

    Args:
        client: of boto3.
        kms_key_id: for SSE-KMS; None is the bucket's default key.
        bucket_key: S3 asks KMS by a key of the bucket.
    """

    def __init__(self, client: Any, *, kms_key_id: str | None, bucket_key: bool) -> None:
        self._client = client
        self._encryption: dict[str, Any] = {"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": bucket_key}
        if kms_key_id is not None:
            self._encryption["SSEKMSKeyId"] = kms_key_id

    def put(self, bucket: str, key: str, blocks: Iterable[bytes], **headers: Any) -> Stored:
        """Write an object; repeatable. Nothing is seen of one that fails midway.

        Raises:
            XComStoreError: S3 did not take it. Whatever ``blocks`` raises comes through.
        """
        target = {"Bucket": bucket, "Key": key}
        given = {**self._encryption, **headers}
        digest, size, waiting = hashlib.sha256(), 0, bytearray()
        upload: _Upload | None = None
        try:
            for block in blocks:
                digest.update(block)
                size += len(block)
                waiting += block
                if len(waiting) >= PART_BYTES:
                    upload = upload or _Upload(self._client, target, given)
                    upload.part(bytes(waiting))
                    waiting.clear()
            if upload is None:
                with told("writing", _where(bucket, key)):
                    answer = self._client.put_object(**target, Body=bytes(waiting), **given)
            else:
                answer = upload.complete(bytes(waiting))
        except BaseException:
            if upload is not None:
                upload.abort()
            raise
        return Stored(version_id=_version(answer), sha256=digest.hexdigest(), size=size)

    def read(self, bucket: str, key: str, version_id: str | None) -> Iterator[bytes]:
        """Yield the object's bytes; raises XComStoreError."""
        where = _where(bucket, key, version_id)
        version = {"VersionId": version_id} if version_id else {}
        with told("reading", where):
            body = self._client.get_object(Bucket=bucket, Key=key, **version)["Body"]
        with contextlib.closing(body), told("reading", where):
            while block := body.read(READ_BYTES):
                yield block

    def delete(self, bucket: str, key: str, version_id: str | None) -> None:
        """Delete one version, or an object without versions; one that is gone is none to worry about."""
        version = {"VersionId": version_id} if version_id else {}
        with told("deleting", _where(bucket, key, version_id)):
            self._client.delete_object(Bucket=bucket, Key=key, **version)


class _Upload:
    """One multipart upload. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html."""

    def __init__(self, client: Any, target: dict[str, str], headers: dict[str, Any]) -> None:
        self._client = client
        self._target = target
        self._where = _where(target["Bucket"], target["Key"])
        self._parts: list[dict[str, Any]] = []
        with told("writing", self._where):
            self._id = client.create_multipart_upload(**target, **headers)["UploadId"]

    def part(self, body: bytes) -> None:
        number = len(self._parts) + 1
        with told("writing", self._where):
            answer = self._client.upload_part(**self._target, UploadId=self._id, PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    def complete(self, rest: bytes) -> Any:
        if rest:
            self.part(rest)
        with told("writing", self._where):
            return self._client.complete_multipart_upload(
                **self._target, UploadId=self._id, MultipartUpload={"Parts": self._parts}
            )

    def abort(self) -> None:
        # What stays of it is invisible, and a lifecycle rule for unfinished uploads removes it.
        with contextlib.suppress(XComStoreError), told("writing", self._where):
            self._client.abort_multipart_upload(**self._target, UploadId=self._id)


def _where(bucket: str, key: str, version_id: str | None = None) -> str:
    return f"s3://{bucket}/{key}" + (f" version {version_id}" if version_id else "")


def _version(answer: Any) -> str | None:
    found = answer.get("VersionId")
    return None if found in {None, "null"} else str(found)
