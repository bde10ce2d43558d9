"""Objects in S3, for what Firehose cannot take now, or will never take. Encrypted with KMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import Aws, translate

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_SCHEME = "s3://"


class S3Store:
    """One prefix of a bucket. Any thread; the client is made at the first call.

    Args:
        aws: sessions.
        url: ``s3://bucket/prefix/``.
        kms_key_id: the key for SSE-KMS; empty for the account's own ``aws/s3`` key.
    """

    def __init__(self, aws: Aws, *, url: str, kms_key_id: str) -> None:
        self._aws = aws
        self._bucket, _, prefix = url.removeprefix(_SCHEME).partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._encryption: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}
        if kms_key_id:
            self._encryption["SSEKMSKeyId"] = kms_key_id
        self._client: S3Client | None = None

    def put(self, key: str, data: bytes) -> None:
        """Write an object; the same key and bytes again change nothing.

        Args:
            key: below the prefix.
            data: its content.

        Raises:
            SidecarError: it was not written, or it is not known; a retry may help.
        """
        try:
            if self._client is None:
                self._client = self._aws.session.client("s3", config=self._aws.config(attempts=2))
            self._client.put_object(
                Bucket=self._bucket, Key=f"{self._prefix}{key}", Body=data, **self._encryption
            )
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot write {_SCHEME}{self._bucket}/{self._prefix}{key}") from err
