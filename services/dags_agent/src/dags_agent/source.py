"""S3 as the agent sees it: a complete listing or an error, and bytes of exactly the listed object."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, Protocol

from dags_agent.checksums import Checksum
from dags_agent.listing import Listed, SourceObject
from dags_agent.s3.address import resolve
from dags_agent.s3.client import Client, Patience
from dags_agent.s3.native import NativeSource
from dags_agent.settings import SourceUrl
from sidecar.aws import Aws
from sidecar.clock import Clock, Stop

S3ClientName = Literal["native", "botocore"]


class Download(Protocol):
    """The bytes of one object, being received.

    Attributes:
        checksum: the proof that S3 offers; to be fed every byte that is read.
        version_id: of the object these bytes belong to, in a versioned bucket.
    """

    checksum: Checksum
    version_id: str | None

    async def read(self, size_bytes: int) -> bytes:
        """Return up to this many next bytes; empty at the end.

        Raises:
            SourceChanged: the object was replaced while it was read.
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
async def connect(
    aws: Aws,
    url: SourceUrl,
    *,
    connections: int,
    clock: Clock,
    stop: Stop,
    rng: random.Random,
    client: S3ClientName = "native",
) -> AsyncIterator[Source]:
    """Open a client for ``url``; asks S3 nothing yet.

    Where our own client cannot work (a proxy, a directory bucket), the SDK's is taken all the same.

    Raises:
        ConfigError: no credentials, no region.
        Transient: the endpoint of the credentials did not answer; a retry may help.
    """
    address = await resolve(aws, url.bucket) if client == "native" else None
    if address is not None and not address.unsupported:
        native = Client(aws, url.bucket, address, Patience(clock=clock, stop=stop, rng=rng))
        try:
            yield NativeSource(native, url)
        finally:
            await native.close()
        return
    from aiobotocore.config import AioConfig  # noqa: PLC0415 - 13 MB that our own client does without

    from dags_agent.s3.sdk import SdkSource  # noqa: PLC0415 - see above

    config = AioConfig().merge(aws.config(connections=connections))  # type: ignore[arg-type]  # stubs: any Config
    async with aws.aio_session.create_client("s3", config=config) as sdk:
        yield SdkSource(sdk, url)
