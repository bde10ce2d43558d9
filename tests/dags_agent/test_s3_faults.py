"""An S3 that throttles, breaks, cuts off and lies: what both clients make of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dags_agent.errors import Archived, SourceChanged
from dags_agent.listing import SourceObject
from dags_agent.s3.client import _date
from dags_agent.s3.download import receive
from dags_agent.s3.http import Broken, _body
from dags_agent.source import Download, S3ClientName
from sidecar.aws import Aws
from sidecar.errors import ConfigError, SidecarError, Transient
from sidecar.testing.fake_clock import FakeClock

from .fakes import PREFIX
from .s3_clients import CLIENTS, connected, only, read
from .s3_server import StubBucket

CONTENT = bytes(range(256)) * 1024
PASSING: list[dict[str, Any]] = [
    {"do": "status", "status": 503, "code": "SlowDown", "message": "Please reduce your request rate."},
    {"do": "status", "status": 500, "code": "InternalError"},
    {"do": "status", "status": 503, "body": "<html>proxy</html>"},
    {"do": "reset"},
]


def one_object(*, time: str = "2026-01-01T00:00:00.000Z", size: str = "1") -> str:
    return (
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>dags/a.py</Key>"
        f'<LastModified>{time}</LastModified><ETag>"x"</ETag><Size>{size}</Size></Contents></ListBucketResult>'
    )


async def drain(download: Download) -> None:
    while await download.read(1 << 20):
        pass


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> S3ClientName:
    made: S3ClientName = request.param
    return made


@pytest.mark.parametrize("operation", ["list", "get"])
@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: str(fault.get("code") or fault["do"]))
async def test_what_passes_is_asked_again(
    bucket: StubBucket, fault: dict[str, Any], operation: str, client: S3ClientName
) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.fail(fault | {"operation": operation, "times": 1})
    async with connected(bucket.name, client) as source:
        assert await read(source, await only(source)) == (b"1", "")
    assert bucket.counts()[operation] == 2


@pytest.mark.parametrize("operation", ["list", "get"])
async def test_attempts_are_counted_and_pauses_grow_with_chance(bucket: StubBucket, operation: str) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.fail(PASSING[0] | {"operation": operation, "times": -1})
    clock = FakeClock()
    async with connected(bucket.name, "native", clock=clock) as source:
        with pytest.raises(Transient, match="SlowDown: Please reduce your request rate"):
            await read(source, await only(source))
    assert bucket.counts()[operation] == 3
    assert len(clock.waits) == 2
    assert all(0 <= pause <= 5 for pause in clock.waits)


async def test_too_many_requests_is_asked_again(bucket: StubBucket) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.fail({"do": "status", "status": 429, "code": "TooManyRequests", "operation": "list"})
    async with connected(bucket.name, "native") as source:
        assert await read(source, await only(source)) == (b"1", "")


async def test_a_refusal_says_what_to_allow_and_is_not_asked_again(
    bucket: StubBucket, client: S3ClientName
) -> None:
    bucket.put("dags/a.py", b"1")
    denied = {
        "do": "status",
        "status": 403,
        "code": "AccessDenied",
        "message": "no s3:GetObject",
        "times": -1,
    }
    bucket.fail(denied | {"operation": "get"})
    async with connected(bucket.name, client) as source:
        item = await only(source)
        with pytest.raises(ConfigError, match=r"AccessDenied: no s3:GetObject.*GetObject"):
            await read(source, item)
    assert bucket.counts()["get"] == 1


async def test_an_archive_tier_that_the_storage_class_does_not_tell_is_known_by_its_refusal(
    bucket: StubBucket, client: S3ClientName
) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.fail(
        {"do": "status", "status": 403, "code": "InvalidObjectState", "operation": "get", "times": -1}
    )
    async with connected(bucket.name, client) as source:
        item = await only(source)
        with pytest.raises(Archived) as refused:
            await read(source, item)
    assert refused.value.versions == {(item.key, item.etag)}


async def test_a_refused_listing_names_the_permission_that_iam_knows(bucket: StubBucket) -> None:
    bucket.fail({"do": "status", "status": 403, "code": "AccessDenied", "times": -1})
    async with connected(bucket.name, "native") as source:
        with pytest.raises(ConfigError, match="ListBucket"):
            await source.list()


async def test_a_page_that_fails_voids_the_listing(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.set_up(page_keys=3, seed={"files": 9, "directories": 1, "prefix": PREFIX})
    bucket.fail(*(PASSING[1] | {"operation": "list", "key": str(page), "times": -1} for page in range(1, 9)))
    async with connected(bucket.name, client) as source:
        with pytest.raises(Transient, match="InternalError"):
            await source.list()


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<ListBucketResult><IsTruncated>false</IsTruncated>",
        "<ListBucketResult></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><KeyCount>2</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
        "<html>all is well</html>",
        "<Error><Code>InternalError</Code></Error>",
        '<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>',
        f"{' ' * 2000}<!DOCTYPE a><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
        one_object(time="2026-01-01T00:00:00.000"),
        one_object(size="-1"),
        one_object(size="9" * 5000),
    ],
)
async def test_a_page_that_is_no_whole_page_is_an_error_and_never_an_empty_listing(
    bucket: StubBucket, page: str
) -> None:
    bucket.fail({"do": "status", "status": 200, "body": page, "operation": "list", "times": -1})
    async with connected(bucket.name, "native") as source:
        with pytest.raises(Transient, match="Cannot list"):
            await source.list()


async def test_a_page_cut_off_is_read_again(bucket: StubBucket) -> None:
    bucket.set_up(seed={"files": 500, "directories": 5, "prefix": PREFIX})
    bucket.fail({"do": "truncate", "operation": "list"})
    async with connected(bucket.name, "native") as source:
        assert len(await source.list()) == 500


async def test_a_listing_that_goes_in_circles_ends(bucket: StubBucket) -> None:
    page = (
        "<ListBucketResult><IsTruncated>true</IsTruncated>"
        "<NextContinuationToken>same</NextContinuationToken></ListBucketResult>"
    )
    bucket.fail({"do": "status", "status": 200, "body": page, "operation": "list", "times": -1})
    async with connected(bucket.name, "native") as source:
        with pytest.raises(Transient, match="circles"):
            await source.list()


async def test_one_wrong_byte_is_caught(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.put("dags/a.py", CONTENT)
    bucket.fail({"do": "flip", "operation": "get", "times": -1})
    async with connected(bucket.name, client) as source:
        item = await only(source)
        try:
            _, mismatch = await read(source, item)
        except Transient as err:  # the SDK proves some checksums itself
            mismatch = str(err)
    assert mismatch


async def test_a_body_cut_off_goes_on_where_it_stopped(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.put("dags/a.zip", CONTENT)
    bucket.fail(
        {"do": "drop_after", "after_bytes": 100_000, "operation": "get"},
        {"do": "drop_after", "after_bytes": 50_000, "operation": "get"},
    )
    bucket.set_up(is_recorded=True)
    async with connected(bucket.name, client) as source:
        content, mismatch = await read(source, await only(source), chunk_bytes=30_000)
    assert (content, mismatch) == (CONTENT, "")
    ranges = [headers["range"] for headers in bucket.headers() if "range" in headers]
    assert len(ranges) == 2
    assert all("if-match" in headers for headers in bucket.headers() if "range" in headers)


async def test_a_body_that_is_always_cut_off_is_given_up(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.put("dags/a.zip", CONTENT)
    bucket.fail({"do": "drop_after", "after_bytes": 1000, "operation": "get", "times": -1})
    async with connected(bucket.name, client) as source:
        item = await only(source)
        with pytest.raises(Transient, match="cut off"):
            await read(source, item)
    assert bucket.counts()["get"] <= 8


async def test_an_object_replaced_while_it_is_resumed_is_noticed(bucket: StubBucket) -> None:
    bucket.put("dags/a.zip", CONTENT)
    bucket.fail({"do": "drop_after", "after_bytes": 100_000, "operation": "get"})
    async with connected(bucket.name, "native") as source:
        item = await only(source)
        async with source.open(item) as download:
            await download.read(10)
            bucket.put("dags/a.zip", CONTENT[::-1])
            with pytest.raises(SourceChanged):
                await drain(download)


async def test_a_connection_that_the_server_closed_meanwhile_costs_no_attempt(bucket: StubBucket) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.fail({"do": "close", "operation": "get", "times": 5})
    clock = FakeClock()
    async with connected(bucket.name, "native", clock=clock) as source:
        item = await only(source)
        for _ in range(5):
            assert await read(source, item) == (b"1", "")
    assert clock.waits == []


async def test_connections_are_used_again(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.put("dags/a.py", b"1")
    before = bucket.connections()
    async with connected(bucket.name, client) as source:
        item = await only(source)
        for _ in range(20):
            await read(source, item)
    assert bucket.connections() - before == 2  # one for 21 requests, one for the question


async def test_an_object_read_in_part_does_not_spoil_the_next(
    bucket: StubBucket, client: S3ClientName
) -> None:
    bucket.put("dags/a.zip", CONTENT)
    async with connected(bucket.name, client) as source:
        item = await only(source)
        async with source.open(item) as download:
            assert await download.read(3) == CONTENT[:3]
        assert await read(source, item) == (CONTENT, "")


@pytest.mark.parametrize(
    ("code", "what"),
    [("ExpiredToken", Transient), ("InvalidAccessKeyId", SidecarError), ("InvalidObjectState", SidecarError)],
)
async def test_errors_keep_secrets_to_themselves(
    bucket: StubBucket,
    client: S3ClientName,
    code: str,
    what: type[SidecarError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "very-secret-token")
    body = (
        f"<Error><Code>{code}</Code><Message>no</Message><Token-0>very-secret-token</Token-0>"
        "<StringToSign>very-secret-key</StringToSign></Error>"
    )
    bucket.fail({"do": "status", "status": 403, "body": body, "times": -1})
    async with connected(bucket.name, client, aws=Aws(service="x", version="0")) as source:
        with pytest.raises(what) as caught:
            await source.list()
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "very-secret" not in f"{chain!r} {chain}"
        chain = chain.__cause__ or chain.__context__


def test_a_broken_connection_is_a_connection_error() -> None:
    assert issubclass(Broken, ConnectionError)


class Lying:
    """A body that says which version it is of, whatever was asked for."""

    def __init__(self, etag: str, pieces: list[bytes | Transient]) -> None:
        self.headers = {"etag": etag, "content-length": "3", "content-range": "bytes 1-2/3"}
        self._pieces = pieces
        self.is_closed = False

    async def read(self, _size_bytes: int) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Transient):
            raise piece
        return piece

    def close(self) -> None:
        self.is_closed = True


LISTED = SourceObject(
    key="dags/a.py", path_begins=5, size_bytes=3, etag='"new"', last_modified=datetime(2026, 1, 1, tzinfo=UTC)
)


@pytest.mark.parametrize("etag", ['"old"', ""])
async def test_a_server_that_takes_no_notice_of_if_match_is_found_out_by_its_own_etag(etag: str) -> None:
    body = Lying(etag, [b"abc"])

    async def get(*_: object, **__: object) -> Lying:
        return body

    with pytest.raises(SourceChanged, match="its ETag is"):
        async with receive(get, LISTED) as download:
            await download.read(3)
    assert body.is_closed


async def test_the_rest_of_another_version_is_never_joined_to_the_first() -> None:
    bodies = [Lying('"new"', [b"a", Transient("cut off")]), Lying('"old"', [b"bc"])]

    async def get(*_: object, **__: object) -> Lying:
        return bodies.pop(0)

    async with receive(get, LISTED) as download:
        assert await download.read(3) == b"a"
        with pytest.raises(SourceChanged):
            await download.read(3)


async def test_a_part_of_another_version_is_never_joined_to_the_others() -> None:
    of_parts = '"0123456789abcdef0123456789abcdef-2"'
    bodies = [Lying(of_parts, []), Lying('"old"', [b"abc"])]

    async def get(*_: object, **__: object) -> Lying:
        return bodies.pop(0)

    with pytest.raises(SourceChanged):
        async with receive(get, replace(LISTED, etag=of_parts)):
            pass


@pytest.mark.parametrize("count", ["abc", "-1", "9" * 5000])
async def test_a_number_of_parts_that_is_none_is_a_failure_that_may_pass(count: str) -> None:
    of_parts = '"0123456789abcdef0123456789abcdef-2"'
    bodies = [Lying(of_parts, []), Lying(of_parts, [])]
    bodies[1].headers["x-amz-mp-parts-count"] = count

    async def get(*_: object, **__: object) -> Lying:
        return bodies.pop(0)

    with pytest.raises(Transient, match="makes no sense"):
        async with receive(get, replace(LISTED, etag=of_parts)):
            pass


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3"])
async def test_a_content_length_that_is_none_is_a_broken_answer(length: str) -> None:
    with pytest.raises(Broken, match="Content-Length"):
        _body(asyncio.StreamReader(), 200, {"content-length": length})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", datetime(2026, 1, 1, tzinfo=UTC)),
        ("Thu, 01 Jan 2026 00:00:00 -0000", datetime(2026, 1, 1, tzinfo=UTC)),
        ("", None),
        ("soon", None),
    ],
)
def test_a_date_is_a_time_or_nothing(text: str, told: datetime | None) -> None:
    assert _date(text) == told
