"""What both S3 clients do alike, against moto and against the stub: the source contract."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
import pytest

from dags_agent.errors import SourceChanged
from dags_agent.source import S3ClientName, Source
from sidecar.errors import ConfigError

from .fakes import PREFIX, FakeSource, etag_of
from .s3_clients import CLIENTS, connected, only, read, wanted
from .s3_server import StubBucket

ODD = {
    "dags/a b+c%20d.py": b"1",
    "dags/é/ü.py": b"22",
    "dags/&lt;<>\"'.py": b"333",
    "dags/line\nfeed\rand\x07bell": b"4",
    "dags//empty//names": b"5",
    "dags/../../up.py": b"6",
    "dags/./dot": b"7",
    "dags/日本\U0001f600.py": b"8",
    "dags/empty": b"",
    "dags/~tilde-_.!*'()": b"9",
}


class Server(Protocol):
    name: str

    def put(self, key: str, content: bytes) -> None: ...
    def delete(self, key: str) -> None: ...


@dataclass
class Moto:
    name: str
    s3: Any

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.name, Key=key)


@pytest.fixture
def moto(aws: str) -> Iterator[Moto]:
    made = Moto(name=f"bucket-{uuid.uuid4().hex}", s3=boto3.client("s3"))
    made.s3.create_bucket(Bucket=made.name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield made
    made.s3.close()


@dataclass
class Fake:
    """What the other tests use instead of an S3: it passes the same suite."""

    name: str
    source: FakeSource

    def put(self, key: str, content: bytes) -> None:
        self.source.objects[key] = content

    def delete(self, key: str) -> None:
        del self.source.objects[key]


@pytest.fixture(params=["moto-native", "moto-botocore", "stub-native", "stub-botocore", "fake-"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Server, Source]]:
    kind, _, client = request.param.partition("-")
    if kind == "fake":
        fake = Fake(name="fake", source=FakeSource())
        yield fake, fake.source
        return
    server: Server = request.getfixturevalue({"moto": "moto", "stub": "bucket"}[kind])
    async with connected(server.name, client) as source:
        yield server, source


@pytest.fixture
def server(both: tuple[Server, Source]) -> Server:
    return both[0]


@pytest.fixture
def source(both: tuple[Server, Source]) -> Source:
    return both[1]


async def test_a_listing_is_exact_and_ends_at_the_prefix(server: Server, source: Source) -> None:
    server.put("dags/a.py", b"1")
    server.put("dags/sub/b.py", b"22")
    server.put("dags-old/x.py", b"not ours")
    assert {(item.key, item.size_bytes, item.etag) for item in await source.list()} == {
        ("dags/a.py", 1, etag_of(b"1")),
        ("dags/sub/b.py", 2, etag_of(b"22")),
    }


async def test_an_empty_prefix_lists_nothing(server: Server, source: Source) -> None:
    server.put("other/a.py", b"1")
    assert await source.list() == []


async def test_odd_keys_are_listed_as_they_are_and_their_bytes_can_be_had(bucket: StubBucket) -> None:
    for key, content in ODD.items():
        bucket.put(key, content)
    for client in CLIENTS:
        async with connected(bucket.name, client) as source:
            found = {item.key: item for item in await source.list()}
            assert found.keys() == ODD.keys()
            for key in ODD.keys() - {"dags//empty//names", "dags/../../up.py", "dags/./dot"}:
                if "\n" not in key:
                    assert (await read(source, wanted(found[key])))[0] == ODD[key]


async def test_bytes_come_whole_and_proven(server: Server, source: Source) -> None:
    content = bytes(range(256)) * 999
    server.put("dags/a.zip", content)
    item = await only(source)
    for chunk_bytes in (1 << 20, 1000):
        assert await read(source, item, chunk_bytes=chunk_bytes) == (content, "")


async def test_an_object_replaced_or_deleted_since_the_listing_is_noticed(
    server: Server, source: Source
) -> None:
    server.put("dags/a.py", b"1")
    server.put("dags/b.py", b"1")
    first, second = [wanted(item) for item in await source.list()]
    server.put("dags/a.py", b"2")
    server.delete("dags/b.py")
    for item in (first, second):
        with pytest.raises(SourceChanged, match=item.key):
            await read(source, item)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", ["moto", "bucket"])
async def test_a_bucket_that_is_not_there_is_named_as_a_configuration_error(
    request: pytest.FixtureRequest, kind: str, client: S3ClientName
) -> None:
    server: Server = request.getfixturevalue(kind)
    async with connected(f"{server.name}-not", client) as source:
        with pytest.raises(ConfigError, match="NoSuchBucket"):
            await source.list()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_listing_goes_on_from_page_to_page(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.set_up(page_keys=7, seed={"files": 50, "directories": 3, "prefix": PREFIX})
    async with connected(bucket.name, client) as source:
        listed = await source.list()
    assert len({item.key for item in listed}) == len(listed) == 50
    assert bucket.counts()["list"] == 8


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_listing_costs_a_request_per_thousand_keys_and_a_file_one_get(
    bucket: StubBucket, client: S3ClientName
) -> None:
    bucket.set_up(seed={"files": 2001, "directories": 10, "prefix": PREFIX})
    async with connected(bucket.name, client) as source:
        items = [wanted(item) for item in await source.list()]
        for item in items[:20]:
            assert (await read(source, item))[1] == ""
    assert bucket.counts() == {"list": 3, "get": 20}


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_version_of_an_object_is_known(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.put("dags/a.py", b"1", versioned=True)
    async with connected(bucket.name, client) as source, source.open(await only(source)) as download:
        assert download.version_id is not None
        assert len(download.version_id) == 32


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_archived_object_is_listed_with_its_class(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.put("dags/a.py", b"1", storage_class="GLACIER")
    async with connected(bucket.name, client) as source:
        assert [item.storage_class for item in await source.list()] == ["GLACIER"]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_key_that_is_not_utf_8_is_refused_and_shown(bucket: StubBucket, client: S3ClientName) -> None:
    page = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType><Contents>"
        "<Key>dags/%FF.py</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<ETag>x</ETag><Size>1</Size></Contents></ListBucketResult>"
    )
    bucket.fail({"do": "status", "operation": "list", "status": 200, "body": page, "times": -1})
    async with connected(bucket.name, client) as source:
        with pytest.raises(Exception, match="%FF"):
            await source.list()
