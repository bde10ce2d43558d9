"""The prefix of a bucket through aiobotocore: slower, and at home wherever the SDK is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
)

from dags_agent.errors import Archived, SourceChanged
from dags_agent.listing import Listed, SourceObject
from dags_agent.s3.download import ObjectDownload, receive
from dags_agent.s3.native import ARCHIVED, REPLACED
from dags_agent.s3.page import decoded
from dags_agent.settings import SourceUrl
from sidecar.aws import translate
from sidecar.errors import Transient

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import (
        GetObjectOutputTypeDef,
        GetObjectRequestTypeDef,
        ListObjectsV2OutputTypeDef,
    )

_CUT_OFF = (aiohttp.ClientError, FlexibleChecksumError, IncompleteReadError, TimeoutError)


class SdkSource:
    """See :class:`dags_agent.source.Source`."""

    def __init__(self, client: S3Client, url: SourceUrl) -> None:
        self._client = client
        self._url = url

    async def list(self) -> list[Listed]:
        """Return every object below the prefix. A failed page voids it all."""
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

    def open(self, item: SourceObject) -> AbstractAsyncContextManager[ObjectDownload]:
        """Begin to receive the listed version of an object."""
        return receive(self._get, item)

    async def _get(self, item: SourceObject, *, part: int | None = None, first_byte: int = 0) -> SdkBody:
        request: GetObjectRequestTypeDef = {
            "Bucket": self._url.bucket,
            "Key": item.key,
            "IfMatch": item.etag,
            "ChecksumMode": "ENABLED",
        }
        if part is not None:
            request["PartNumber"] = part
        if first_byte:
            request["Range"] = f"bytes={first_byte}-"
        doing = f"Cannot read key {item.key!r} of {self._url}"
        try:
            answer = await self._client.get_object(**request)
        except ClientError as err:
            if err.response.get("Error", {}).get("Code") == ARCHIVED:
                raise Archived(frozenset({(item.key, item.etag)})) from err
            if err.response.get("Error", {}).get("Code") in REPLACED:
                raise SourceChanged(
                    f"Key {item.key!r} changed while it was being read", remedy="It is listed again"
                ) from err
            raise translate(err, doing) from err
        except BotoCoreError as err:
            raise translate(err, doing) from err
        return SdkBody(item.key, answer)


class SdkBody:
    """See :class:`dags_agent.s3.download.Body`."""

    def __init__(self, key: str, answer: GetObjectOutputTypeDef) -> None:
        self._key = key
        self._body = answer["Body"]
        self._headers = answer["ResponseMetadata"]["HTTPHeaders"]

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer, lower-case names."""
        return self._headers

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end."""
        try:
            return await self._body.read(size_bytes)
        except _CUT_OFF as err:
            raise _broken(f"Key {self._key!r} was cut off", err) from err
        except BotoCoreError as err:
            raise translate(err, f"Key {self._key!r} was cut off") from err

    def close(self) -> None:
        """Give the connection back."""
        self._body.close()


def _objects(page: ListObjectsV2OutputTypeDef) -> list[Listed]:
    is_encoded = page.get("EncodingType") == "url"
    return [
        Listed(
            key=decoded(item["Key"]) if is_encoded else item["Key"],
            size_bytes=item["Size"],
            etag=item["ETag"],
            last_modified=item["LastModified"],
            storage_class=item.get("StorageClass", "STANDARD"),
        )
        for item in page.get("Contents", [])
    ]


def _broken(what: str, err: Exception) -> Transient:
    return Transient(what, why=str(err) or type(err).__name__, remedy="It will be tried again")
