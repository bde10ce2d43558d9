"""Our signatures are the SDK's, for any key, token and time; and S3's refusals of them are mended once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from benchmarks.dags_agent.s3_stub.verify import is_genuine
from hypothesis import given, strategies as st

from dags_agent.s3.signing import Keys, Signer, canonical_query, encoded_path
from dags_agent.source import S3ClientName
from sidecar.aws import Aws
from sidecar.clock import SystemClock
from sidecar.errors import ConfigError, Transient

from .s3_clients import CLIENTS, connected, only, read
from .s3_server import StubBucket

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
WORD = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=4, max_size=20)


@given(
    key=TEXT,
    query=st.dictionaries(st.sampled_from(["prefix", "list-type", "continuation-token"]), TEXT),
    token=st.none() | WORD,
    access_key=WORD,
    secret=WORD,
    now=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - hypothesis wants it so
)
def test_a_signature_is_the_one_that_botocore_makes(
    *, key: str, query: dict[str, str], token: str | None, access_key: str, secret: str, now: datetime
) -> None:
    keys = Keys(access_key=access_key, secret_key=secret, token=token)
    path = f"/bucket/{encoded_path(key)}"
    asked = canonical_query(query)
    lines = Signer(host="s3.example", region="eu-west-1").sign(
        path, asked, {"x-amz-checksum-mode": "ENABLED"}, keys, now.replace(tzinfo=UTC)
    )
    headers = dict(line.split(":", 1) for line in lines)
    assert is_genuine(f"{path}?{asked}" if asked else path, headers, secret)
    assert not is_genuine(f"{path}x", headers, secret)


def test_the_derived_key_follows_the_day_and_the_secret() -> None:
    signer = Signer(host="s3.example", region="eu-west-1")
    for secret, day in (("one", 1), ("two", 1), ("two", 2), ("one", 1)):
        keys = Keys(access_key="AKID", secret_key=secret, token=None)
        lines = signer.sign("/k", "", {}, keys, datetime(2026, 1, day, tzinfo=UTC))
        assert is_genuine("/k", dict(line.split(":", 1) for line in lines), secret)


def test_credentials_do_not_print_their_secrets() -> None:
    assert "hidden" not in repr(Keys(access_key="AKID", secret_key="hidden", token="hidden"))


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_server_that_checks_signatures_accepts_ours(bucket: StubBucket, client: S3ClientName) -> None:
    bucket.put("dags/a b+c%20d/é~.py", b"1")
    bucket.set_up(secrets={"test": "test"})
    async with connected(bucket.name, client, clock=SystemClock()) as source:
        assert await read(source, await only(source)) == (b"1", "")


async def test_a_wrong_secret_is_said_and_not_tried_again(bucket: StubBucket) -> None:
    bucket.set_up(secrets={"test": "another"})
    async with connected(bucket.name, "native", clock=SystemClock()) as source:
        with pytest.raises(Exception, match="SignatureDoesNotMatch"):
            await source.list()
    assert bucket.counts()["list"] == 1


@pytest.mark.parametrize("skew_seconds", [-7200, 7200])
async def test_a_clock_that_is_off_is_set_by_the_servers(bucket: StubBucket, skew_seconds: int) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.set_up(skew_seconds=skew_seconds)
    async with connected(bucket.name, "native", clock=SystemClock()) as source:
        for _ in range(3):
            assert await read(source, await only(source)) == (b"1", "")
    assert bucket.counts()["list:403"] == 1


async def test_a_bucket_in_another_region_is_found_there(bucket: StubBucket) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.set_up(region="ap-southeast-2")
    async with connected(bucket.name, "native") as source:
        assert await read(source, await only(source)) == (b"1", "")
    assert bucket.counts() == {"list": 2, "list:400": 1, "get": 1}


async def test_a_redirect_that_names_no_region_says_what_to_set(bucket: StubBucket) -> None:
    bucket.fail({"do": "status", "status": 301, "code": "PermanentRedirect", "times": -1})
    async with connected(bucket.name, "native") as source:
        with pytest.raises(ConfigError, match=r"another region.*AWS_REGION"):
            await source.list()


async def test_a_temporary_redirect_names_the_region_in_its_header(bucket: StubBucket) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.fail(
        {"do": "status", "status": 307, "body": "", "headers": {"x-amz-bucket-region": "eu-central-1"}}
    )
    async with connected(bucket.name, "native") as source:
        assert await read(source, await only(source)) == (b"1", "")


async def test_static_credentials_that_ended_are_said_to_have(bucket: StubBucket) -> None:
    bucket.set_up(secrets={"test": "expired"})
    async with connected(bucket.name, "native", aws=Aws(service="x", version="0")) as source:
        with pytest.raises(Transient, match=r"ExpiredToken.*task role"):
            await source.list()
    assert bucket.counts()["list"] == 2
