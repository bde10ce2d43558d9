"""What a small GET costs in each S3 client that Python has: ``python -m benchmarks.dags_agent.clients``.

5,000 objects of 2 to 8 KiB, 32 in flight, nothing written. CPU seconds of this process only, so the stub and
a busy machine matter little. Clients that are not installed are left out (obstore, for one).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.session import get_session
from benchmarks.dags_agent.s3_stub.process import StubProcess
from benchmarks.dags_agent.tools import BUCKET, PREFIX, environment

from dags_agent.listing import SourceObject
from dags_agent.s3.signing import Keys, Signer, encoded_path
from dags_agent.settings import SourceUrl
from dags_agent.source import connect
from sidecar.aws import Aws
from sidecar.clock import Stop, SystemClock

IN_FLIGHT = 32
Get = Callable[[SourceObject], Awaitable[int]]


@asynccontextmanager
async def native(_: str) -> AsyncIterator[Get]:
    """Ours, with every checksum proven."""
    url = SourceUrl(bucket=BUCKET, prefix=PREFIX)
    rng = random.Random(0)
    async with connect(
        Aws(service="bench", version="0"),
        url,
        connections=IN_FLIGHT,
        clock=SystemClock(),
        stop=Stop(),
        rng=rng,
    ) as source:

        async def get(item: SourceObject) -> int:
            async with source.open(item) as download:
                content = await download.read(item.size_bytes)
                download.checksum.update(content)
                if download.checksum.mismatch():
                    raise ValueError(item.key)
                return len(content)

        yield get


@asynccontextmanager
async def aiobotocore(_: str) -> AsyncIterator[Get]:
    """The SDK for asyncio."""
    async with get_session().create_client("s3") as client:

        async def get(item: SourceObject) -> int:
            answer = await client.get_object(Bucket=BUCKET, Key=item.key, IfMatch=item.etag)
            return len(await answer["Body"].read())

        yield get


@asynccontextmanager
async def aiohttp_signed(endpoint: str) -> AsyncIterator[Get]:
    """A general HTTP client, and our signer."""
    keys = Keys(access_key="bench", secret_key="bench", token=None)
    signer = Signer(host=urlsplit(endpoint).netloc, region="eu-west-1")
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def get(item: SourceObject) -> int:
            path = f"/{BUCKET}/{encoded_path(item.key)}"
            now = datetime.now(UTC)
            lines = signer.sign(path, "", {"x-amz-checksum-mode": "ENABLED"}, keys, now)
            headers = dict(line.split(":", 1) for line in lines) | {"if-match": item.etag}
            async with session.get(endpoint + path, headers=headers) as answer:
                return len(await answer.read())

        yield get


@asynccontextmanager
async def awscrt(endpoint: str) -> AsyncIterator[Get]:
    """The AWS runtime in C, through its Python binding."""
    from awscrt import auth, http, io, s3

    group = io.EventLoopGroup(1)
    bootstrap = io.ClientBootstrap(group, io.DefaultHostResolver(group))
    provider = auth.AwsCredentialsProvider.new_static("bench", "bench")
    signing = s3.create_default_s3_signing_config(region="eu-west-1", credential_provider=provider)
    client = s3.S3Client(
        bootstrap=bootstrap,
        region="eu-west-1",
        signing_config=signing,
        tls_mode=s3.S3RequestTlsMode.DISABLED,
        throughput_target_gbps=1.0,
    )
    host = urlsplit(endpoint).netloc

    async def get(item: SourceObject) -> int:
        received: list[int] = []
        headers = http.HttpHeaders([("host", host), ("if-match", item.etag)])
        request = http.HttpRequest("GET", f"/{BUCKET}/{encoded_path(item.key)}", headers)
        call = client.make_request(
            type=s3.S3RequestType.GET_OBJECT,
            request=request,
            on_body=lambda chunk, **_: received.append(len(chunk)),
        )
        await asyncio.wrap_future(call.finished_future)
        return sum(received)

    yield get


@asynccontextmanager
async def obstore(endpoint: str) -> AsyncIterator[Get]:
    """The object_store crate of Rust."""
    from obstore.store import (  # type: ignore[import-not-found]
        S3Store,
    )

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        region="eu-west-1",
        access_key_id="bench",
        secret_access_key="bench",
        client_options={"allow_http": True},
    )

    async def get(item: SourceObject) -> int:
        answer = await store.get_async(item.key, options={"if_match": item.etag})
        return len(await answer.bytes_async())

    yield get


async def _measure(client: Callable[[str], object], endpoint: str, items: Sequence[SourceObject]) -> float:
    async with AsyncExitStack() as stack:
        get: Get = await stack.enter_async_context(client(endpoint))  # type: ignore[arg-type]  # as they all are
        await get(items[0])
        queue = iter(items)

        async def work() -> None:
            for item in queue:
                if await get(item) != item.size_bytes:
                    raise ValueError(item.key)

        began = time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())
        return time.process_time() - began


async def _listed() -> list[SourceObject]:
    url = SourceUrl(bucket=BUCKET, prefix=PREFIX)
    rng = random.Random(0)
    async with connect(
        Aws(service="bench", version="0"), url, connections=1, clock=SystemClock(), stop=Stop(), rng=rng
    ) as source:
        return [
            SourceObject(
                key=item.key,
                path_begins=0,
                size_bytes=item.size_bytes,
                etag=item.etag,
                last_modified=item.last_modified,
            )
            for item in await source.list()
        ]


def main() -> None:
    """Print microseconds of CPU per object: the median of interleaved rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dags_agent.clients", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=5000)
    arguments = parser.parse_args()
    stub = StubProcess()
    try:
        stub.set_up(BUCKET, seed={"files": arguments.files, "directories": 200, "prefix": PREFIX})
        os.environ.update(environment(stub.url))
        items = asyncio.run(_listed())
        clients = (native, aiohttp_signed, obstore, awscrt, aiobotocore)
        costs: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            for client in clients:
                with suppress(ImportError):
                    seconds = asyncio.run(_measure(client, stub.url, items))
                    costs.setdefault(client.__name__, []).append(seconds / len(items) * 1e6)
        for name, found in costs.items():
            median, all_rounds = statistics.median(found), sorted(map(round, found))
            print(f"{name:16} {median:6.0f} us CPU per object, of {all_rounds}")
    finally:
        stub.close()


if __name__ == "__main__":
    main()
