"""S3 as the agent sees it: a complete listing or an error, and bytes of exactly the listed object."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
)

from dags_agent.errors import Reason, Refused, SourceChanged
from dags_agent.listing import Listed, SourceObject
from dags_agent.settings import SourceUrl
from sidecar.aws import Aws, translate
from sidecar.errors import Transient

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import GetObjectOutputTypeDef, ListObjectsV2OutputTypeDef

_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})"?')
_REPLACED = ("PreconditionFailed", "412", "NoSuchKey", "404", "NoSuchVersion")
_CUT_OFF = (aiohttp.ClientError, FlexibleChecksumError, IncompleteReadError)


class Download(Protocol):
    """The bytes of one object, being received.

    Attributes:
        md5: what the whole must hash to (hex), where S3 tells it.
        version_id: of the object these bytes belong to, in a versioned bucket.
    """

    md5: str | None
    version_id: str | None

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end.

        Raises:
            Transient: the connection broke; opening the object again helps.
        """


class Source(Protocol):
    """Where the files come from."""

    async def list(self) -> list[Listed]:
        """Return every object below the prefix. A failed page voids it all.

        Raises:
            ConfigError: the bucket is not there, or we may not list it.
            Transient: S3 did not answer; a retry may help.
        """

    def open(self, item: SourceObject) -> AbstractAsyncContextManager[Download]:
        """Begin to receive the listed version of an object.

        Raises:
            SourceChanged: it was replaced or deleted since the listing.
            ConfigError: we may not read it.
            Transient: S3 did not answer; a retry may help.
        """


@asynccontextmanager
async def connect(aws: Aws, url: SourceUrl, *, connections: int) -> AsyncIterator[Source]:
    """Open a client for ``url``; calls nothing yet."""
    config = AioConfig().merge(aws.config(connections=connections))  # type: ignore[arg-type]  # stubs: any Config
    async with aws.aio_session.create_client("s3", config=config) as client:
        yield S3Source(client, url)


class S3Source:
    """A prefix of a bucket, through aiobotocore."""

    def __init__(self, client: S3Client, url: SourceUrl) -> None:
        self._client = client
        self._url = url

    async def list(self) -> list[Listed]:
        """Return every object below the prefix (see :class:`Source`)."""
        listed: list[Listed] = []
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._url.bucket, Prefix=self._url.prefix, EncodingType="url"
        )
        try:
            async for page in pages:
                listed += _objects(page)
        except (ClientError, BotoCoreError) as err:
            raise translate(err, f"Cannot list {self._url}") from err
        except aiohttp.ClientError as err:
            raise _broken(f"Cannot list {self._url}", err) from err
        return listed

    @asynccontextmanager
    async def open(self, item: SourceObject) -> AsyncIterator[Download]:
        """Begin to receive the listed version of an object (see :class:`Source`)."""
        try:
            answer = await self._client.get_object(Bucket=self._url.bucket, Key=item.key, IfMatch=item.etag)
        except ClientError as err:
            if err.response.get("Error", {}).get("Code") in _REPLACED:
                raise SourceChanged(
                    f"Key {item.key!r} changed while it was being read", remedy="It is listed again"
                ) from err
            raise translate(err, f"Cannot read key {item.key!r} of {self._url}") from err
        except BotoCoreError as err:
            raise translate(err, f"Cannot read key {item.key!r} of {self._url}") from err
        async with answer["Body"]:
            yield S3Download(item.key, answer)


class S3Download:
    """One GetObject answer."""

    def __init__(self, key: str, answer: GetObjectOutputTypeDef) -> None:
        self._key = key
        self._body = answer["Body"]
        self.version_id: str | None = answer.get("VersionId")
        self.md5: str | None = _md5(answer)

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end."""
        try:
            return await self._body.read(size_bytes)
        except _CUT_OFF as err:
            raise _broken(f"Key {self._key!r} was cut off", err) from err
        except BotoCoreError as err:
            raise translate(err, f"Key {self._key!r} was cut off") from err


def _objects(page: ListObjectsV2OutputTypeDef) -> list[Listed]:
    is_encoded = page.get("EncodingType") == "url"
    return [
        Listed(
            key=_decoded(item["Key"]) if is_encoded else item["Key"],
            size_bytes=item["Size"],
            etag=item["ETag"],
            last_modified=item["LastModified"],
            storage_class=item.get("StorageClass", "STANDARD"),
        )
        for item in page.get("Contents", [])
    ]


def _decoded(key: str) -> str:
    """Undo ``encoding-type=url``. Without it XML would turn some control characters into others."""
    try:
        return unquote_to_bytes(key.replace("+", " ")).decode()
    except UnicodeDecodeError as err:
        raise Refused(
            Reason.UNSAFE_KEY,
            f"Key {key!r} (URL-encoded) cannot become a file",
            why="it is not UTF-8",
            remedy="Delete or rename the object; the live release stays",
        ) from err


def _md5(answer: GetObjectOutputTypeDef) -> str | None:
    """Return the object's MD5 where its ETag is one: not multipart, not encrypted with KMS or a client's key.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    match = _MD5_ETAG.fullmatch(answer.get("ETag", ""))
    has_own_key = answer.get("SSECustomerAlgorithm") or "kms" in answer.get("ServerSideEncryption", "")
    return match[1] if match and not has_own_key else None


def _broken(what: str, err: Exception) -> Transient:
    return Transient(what, why=str(err) or type(err).__name__, remedy="It will be tried again")
