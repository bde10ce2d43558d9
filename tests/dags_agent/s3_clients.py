"""Both S3 clients as the agent connects them, with a clock that the test owns."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager

from dags_agent.keys import relative_path
from dags_agent.listing import Listed, SourceObject
from dags_agent.settings import SourceUrl
from dags_agent.source import S3ClientName, Source, connect
from sidecar.aws import Aws
from sidecar.clock import Clock, Stop
from sidecar.testing.fake_clock import FakeClock

from .fakes import PREFIX

# The SDK takes half a second to read its models; whoever changes credentials brings a session of their own.
_AWS = Aws(service="dags-agent", version="0")
CLIENTS: tuple[S3ClientName, ...] = ("native", "botocore")


def connected(
    bucket: str, client: S3ClientName, *, clock: Clock | None = None, aws: Aws | None = None
) -> AbstractAsyncContextManager[Source]:
    """Connect to a bucket. Waits between attempts take no time, unless the clock says otherwise."""
    return connect(
        aws or _AWS,
        SourceUrl(bucket=bucket, prefix=PREFIX),
        connections=4,
        clock=clock or FakeClock(),
        stop=Stop(),
        rng=random.Random(0),  # noqa: S311 - jitter
        client=client,
    )


def wanted(listed: Listed) -> SourceObject:
    """The object to publish that a listed one becomes."""
    return SourceObject(
        key=listed.key,
        path_begins=len(listed.key) - len(relative_path(listed.key, prefix=PREFIX)),
        size_bytes=listed.size_bytes,
        etag=listed.etag,
        last_modified=listed.last_modified,
    )


async def read(source: Source, item: SourceObject, *, chunk_bytes: int = 1 << 20) -> tuple[bytes, str]:
    """Return an object's bytes, and what its checksums say of them (empty: they agree)."""
    async with source.open(item) as download:
        content = b""
        while piece := await download.read(chunk_bytes):
            download.checksum.update(piece)
            content += piece
        return content, download.checksum.mismatch()


async def only(source: Source) -> SourceObject:
    """The one object that is listed."""
    (listed,) = await source.list()
    return wanted(listed)
