"""The source contract: the fake, moto and the slow server all pass it through the same questions."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import boto3
import pytest

from dags_agent.errors import SourceChanged
from dags_agent.keys import to_listing
from dags_agent.settings import SourceUrl
from dags_agent.source import Source, connect
from sidecar.aws import Aws
from sidecar.errors import ConfigError, Transient

from .fakes import BUCKET, PREFIX, FakeSource, SlowS3, etag_of

FILES = {
    "dags/a b+c%20d.py": b"1",
    "dags/é/ü.py": b"22",
    "dags/empty": b"",
    "dags/z.py": b"4444",
    "dags-old/x.py": b"not ours",
}
OURS = {key: content for key, content in FILES.items() if key.startswith(PREFIX)}


@dataclass
class Server:
    """One way to hold objects: put and delete them, and connect to them as the agent does."""

    put: Callable[[str, bytes], object]
    delete: Callable[[str], object]
    source: Callable[[], AbstractAsyncContextManager[Source]]


def _fake() -> Iterator[Server]:
    fake = FakeSource()

    @asynccontextmanager
    async def source() -> AsyncIterator[Source]:
        yield fake

    yield Server(put=fake.objects.__setitem__, delete=fake.objects.pop, source=source)


def _moto() -> Iterator[Server]:
    bucket = f"bucket-{uuid.uuid4().hex}"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield Server(
        put=lambda key, content: s3.put_object(Bucket=bucket, Key=key, Body=content),
        delete=lambda key: s3.delete_object(Bucket=bucket, Key=key),
        source=lambda: connect(
            Aws(service="dags-agent", version="0"), SourceUrl(bucket=bucket, prefix=PREFIX), connections=4
        ),
    )
    s3.close()


def _slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = SlowS3({}, page_size=2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    yield Server(put=server.objects.__setitem__, delete=server.objects.pop, source=_connect_to_slow)
    server.close()


def _connect_to_slow() -> AbstractAsyncContextManager[Source]:
    url = SourceUrl(bucket=BUCKET, prefix=PREFIX)
    return connect(Aws(service="dags-agent", version="0"), url, connections=4)


@pytest.fixture(params=["fake", "moto", "slow"])
def server(request: pytest.FixtureRequest, aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    makers: dict[str, Callable[[], Iterator[Server]]] = {
        "fake": _fake,
        "moto": _moto,
        "slow": partial(_slow, monkeypatch),
    }
    for made in makers[request.param]():
        for key, content in FILES.items():
            made.put(key, content)
        yield made


async def test_the_listing_is_complete_exact_and_ends_at_the_prefix(server: Server) -> None:
    async with server.source() as source:
        listed = await source.list()
    assert {(item.key, item.size_bytes, item.etag) for item in listed} == {
        (key, len(content), etag_of(content)) for key, content in OURS.items()
    }


async def test_the_bytes_are_the_objects(server: Server) -> None:
    async with server.source() as source:
        listing = to_listing(await source.list(), RULES)
        for item in listing.objects:
            async with source.open(item) as download:
                content = b""
                while piece := await download.read(3):
                    content += piece
                assert content == FILES[item.key]
                download.checksum.update(content)
                assert download.checksum.mismatch() == ""


async def test_an_object_replaced_or_deleted_since_the_listing_is_noticed(server: Server) -> None:
    async with server.source() as source:
        listing = to_listing(await source.list(), RULES)
        by_key = {item.key: item for item in listing.objects}
        server.put("dags/z.py", b"5555")
        server.delete("dags/empty")
        for key in ("dags/z.py", "dags/empty"):
            with pytest.raises(SourceChanged, match=key):
                async with source.open(by_key[key]):
                    pass


async def test_a_failed_page_voids_the_listing(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowS3({f"dags/{number}.py": b"" for number in range(9)}, page_size=3)
    server.failing_page = 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    async with _connect_to_slow() as source:
        with pytest.raises(Transient, match="InternalError"):
            await source.list()
    server.close()


async def test_a_version_id_is_known_where_the_bucket_is_versioned(aws: str) -> None:
    bucket = f"bucket-{uuid.uuid4().hex}"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version_id = s3.put_object(Bucket=bucket, Key="dags/a.py", Body=b"1")["VersionId"]
    s3.close()
    url = SourceUrl(bucket=bucket, prefix=PREFIX)
    async with connect(Aws(service="dags-agent", version="0"), url, connections=1) as source:
        listing = to_listing(await source.list(), RULES)
        async with source.open(listing.objects[0]) as download:
            assert download.version_id == version_id


async def test_a_bucket_that_is_not_there_is_a_configuration_error(aws: str) -> None:
    url = SourceUrl(bucket=f"bucket-{uuid.uuid4().hex}", prefix=PREFIX)
    async with connect(Aws(service="dags-agent", version="0"), url, connections=1) as source:
        with pytest.raises(ConfigError, match="NoSuchBucket"):
            await source.list()
