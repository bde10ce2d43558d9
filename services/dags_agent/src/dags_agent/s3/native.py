"""The prefix of a bucket through our own client: the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus

from botocore.exceptions import ClientError

from dags_agent.errors import Archived, SourceChanged
from dags_agent.listing import Listed, SourceObject
from dags_agent.s3.client import Client, Question, explained
from dags_agent.s3.download import ObjectDownload, receive
from dags_agent.s3.http import Answer
from dags_agent.s3.page import Page, PageUnreadable, read_page
from dags_agent.settings import SourceUrl
from sidecar.errors import Transient

_PAGE_SECONDS = 60.0
# 1,000 keys of 1,024 bytes, each three times as long when URL-encoded, and what surrounds them.
_PAGE_BYTES = 8 << 20
_PAGE_ATTEMPTS = 3
# The slowest line that is waited for; what trickles slower is given up and asked for again.
_BYTES_PER_SECOND_MIN = 64 << 10
_BODY_SECONDS = 30.0
ARCHIVED = "InvalidObjectState"
REPLACED = ("PreconditionFailed", "412", "NoSuchKey", "404", "NoSuchVersion")


class NativeSource:
    """See :class:`dags_agent.source.Source`."""

    def __init__(self, client: Client, url: SourceUrl) -> None:
        self._client = client
        self._url = url

    async def list(self) -> list[Listed]:
        """Return every object below the prefix. A failed page voids it all."""
        listed: list[Listed] = []
        query = {"list-type": "2", "prefix": self._url.prefix, "encoding-type": "url"}
        token: str | None = None
        seen: set[str] = set()
        while True:
            page = await self._page(query if token is None else query | {"continuation-token": token})
            listed += page.objects
            token = page.next_token
            if token is None:
                return listed
            if token in seen:
                raise Transient(
                    f"Cannot list {self._url}", why="it goes in circles", remedy="It will be tried again"
                )
            seen.add(token)

    def open(self, item: SourceObject) -> AbstractAsyncContextManager[ObjectDownload]:
        """Begin to receive the listed version of an object."""
        return receive(self._get, item)

    async def _page(self, query: Mapping[str, str]) -> Page:
        question = Question(
            operation="ListBucket", doing=f"Cannot list {self._url}", key=None, query=query, headers={}
        )
        attempt = 1
        while True:
            try:
                async with asyncio.timeout(_PAGE_SECONDS):
                    return await self._read_page(question)
            except ClientError as err:
                raise explained(err, question) from err
            except (OSError, PageUnreadable) as err:
                if attempt == _PAGE_ATTEMPTS:
                    why = str(err) or f"a page took longer than {_PAGE_SECONDS:g} s"
                    raise Transient(question.doing, why=why, remedy="It will be tried again") from err
            attempt += 1

    async def _read_page(self, question: Question) -> Page:
        answer = await self._client.get(question)
        try:
            return read_page(await answer.read_all(_PAGE_BYTES))
        finally:
            answer.close()

    async def _get(self, item: SourceObject, *, part: int | None = None, first_byte: int = 0) -> NativeBody:
        headers = {"x-amz-checksum-mode": "ENABLED", "if-match": item.etag}
        expected: tuple[int, ...] = (HTTPStatus.OK,)
        if first_byte:
            headers["range"] = f"bytes={first_byte}-"
        if first_byte or part is not None:
            expected = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
        question = Question(
            operation="GetObject",
            doing=f"Cannot read key {item.key!r} of {self._url}",
            key=item.key,
            query={} if part is None else {"partNumber": str(part)},
            headers=headers,
        )
        try:
            answer = await self._client.get(question, expected=expected)
        except ClientError as err:
            if err.response["Error"]["Code"] == ARCHIVED:
                raise Archived(frozenset({(item.key, item.etag)})) from err
            if err.response["Error"]["Code"] in REPLACED:
                raise SourceChanged(
                    f"Key {item.key!r} changed while it was being read", remedy="It is listed again"
                ) from err
            raise explained(err, question) from err
        return NativeBody(item, answer)


class NativeBody:
    """See :class:`dags_agent.s3.download.Body`."""

    def __init__(self, item: SourceObject, answer: Answer) -> None:
        self._key = item.key
        self._answer = answer
        self._deadline = asyncio.get_running_loop().time() + _BODY_SECONDS
        self._deadline += item.size_bytes / _BYTES_PER_SECOND_MIN

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer, lower-case names."""
        return self._answer.headers

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end."""
        try:
            if asyncio.get_running_loop().time() > self._deadline:
                raise TimeoutError("it comes too slowly")
            return await self._answer.read(size_bytes)
        except OSError as err:
            why = str(err) or "nothing came in time"
            raise Transient(
                f"Key {self._key!r} was cut off", why=why, remedy="It will be tried again"
            ) from err

    def close(self) -> None:
        """Give the connection back."""
        self._answer.close()
