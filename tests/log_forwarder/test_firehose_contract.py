"""What a Firehose is, asked of our fake and of moto server by the same adapter over real boto3."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import botocore.session
import pytest

from log_forwarder.batching import MAX_RECORD_BYTES
from log_forwarder.firehose import Firehose
from log_forwarder.wire import endpoint
from sidecar.aws import Aws
from sidecar.errors import ConfigError, Permanent, Transient

from .building import record
from .fakes import Reply, denied, disconnect, partial, serve, unavailable

AWS = Aws(service="log-forwarder", version="0")


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture
def fake_stream(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serve("logs") as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", fake.url)
        yield "logs"


@pytest.fixture
def moto_stream(aws: str) -> str:
    name = f"logs-{uuid.uuid4().hex}"
    bucket = f"bucket-{uuid.uuid4().hex}"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    boto3.client("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{bucket}",
        },
    )
    return name


@pytest.fixture(params=["fake", pytest.param("moto", marks=pytest.mark.integration)])
def stream(request: pytest.FixtureRequest) -> str:
    """A stream on each of the servers."""
    name: str = request.getfixturevalue(f"{request.param}_stream")
    return name


def test_a_stream_that_exists_is_active(stream: str) -> None:
    assert Firehose(AWS, stream).look() == "ACTIVE"


def test_a_stream_that_is_missing_is_a_configuration_error(stream: str) -> None:
    firehose = Firehose(AWS, "nobody")

    with pytest.raises(ConfigError, match="ResourceNotFound"):
        firehose.look()
    assert isinstance(firehose.put([record(b"x")]).error, ConfigError)


def test_records_are_accepted_in_order(stream: str) -> None:
    given = (record(b"one\n"), record(b"\x00\xff" * 1000), record(b"x" * MAX_RECORD_BYTES))

    outcome = Firehose(AWS, stream).put(given)

    assert (outcome.accepted, outcome.failed, outcome.error) == (given, (), None)


def test_the_fake_refuses_what_firehose_refuses(fake_stream: str) -> None:
    firehose = Firehose(AWS, fake_stream)
    too_large = [record(b"x" * (MAX_RECORD_BYTES + 1))]
    too_many = [record(b"x")] * 501
    too_much = [record(b"x" * MAX_RECORD_BYTES)] * 5

    for refused in (too_large, too_many, too_much):
        assert isinstance(firehose.put(refused).error, Permanent)
        assert firehose.put(refused).accepted == ()


def test_each_failure_says_whether_a_retry_helps(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve("logs") as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", fake.url)
        firehose = Firehose(AWS, "logs")
        for mode, kind in ((unavailable, Transient), (disconnect, Transient), (denied, ConfigError)):
            fake.mode = mode
            outcome = firehose.put([record(b"x")])
            assert isinstance(outcome.error, kind)
            assert outcome.accepted == ()
        assert len(fake.calls) == 3  # one call each: botocore does not retry behind our back


def test_a_partial_failure_names_the_records_that_failed(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve("logs") as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", fake.url)
        fake.mode = partial(2)
        given = [record(b"%d" % number) for number in range(5)]

        outcome = Firehose(AWS, "logs").put(given)

    assert [failed.data for failed in outcome.failed] == [b"1", b"3"]
    assert [accepted.data for accepted in outcome.accepted] == [b"0", b"2", b"4"]
    assert "ServiceUnavailableException" in str(outcome.error)


@pytest.mark.parametrize(
    ("code", "is_of_the_record"),
    [
        ("InvalidArgumentException", True),
        ("ServiceUnavailableException", False),
        ("InternalFailure", False),
        ("ThrottlingException", False),
        ("InvalidKMSResourceException", False),
    ],
)
def test_a_records_own_code_says_whether_it_is_the_record(
    credentials: None, monkeypatch: pytest.MonkeyPatch, code: str, is_of_the_record: bool
) -> None:
    with serve("logs") as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", fake.url)
        fake.mode = lambda _call, _records: Reply(failed=(1,), code=code)
        outcome = Firehose(AWS, "logs").put([record(b"x"), record(b"y")])

    assert [each.data for each in outcome.failed] == [b"y"]
    assert (outcome.refused == outcome.failed) == is_of_the_record


@pytest.mark.parametrize(
    ("region", "environment", "url"),
    [
        ("eu-west-1", {}, "https://firehose.eu-west-1.amazonaws.com/"),
        ("cn-north-1", {}, "https://firehose.cn-north-1.amazonaws.com.cn/"),
        (
            "us-gov-west-1",
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "https://firehose-fips.us-gov-west-1.amazonaws.com/",
        ),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://cloud:4566"}, "http://cloud:4566/"),
    ],
)
def test_the_endpoint_is_the_one_that_the_sdks_own_client_would_call(
    monkeypatch: pytest.MonkeyPatch, region: str, environment: dict[str, str], url: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session(region_name=region).client("firehose")

    assert endpoint(botocore.session.get_session(), region).rstrip("/") + "/" == url
    assert client.meta.endpoint_url.rstrip("/") + "/" == url


def test_nobody_listening_is_transient(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve("logs") as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", fake.url)
    firehose = Firehose(AWS, "logs")

    assert isinstance(firehose.put([record(b"x")]).error, Transient)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("InvalidKMSResourceException", "KMS key"),
        ("InvalidSignatureException", "clock"),
        ("InvalidSourceException", "Direct PUT"),
        ("AccessDeniedException", "task role"),
        ("ResourceNotFoundException", "Create it"),
    ],
)
def test_what_a_person_must_mend_is_held_and_says_what_to_do(
    credentials: None, monkeypatch: pytest.MonkeyPatch, code: str, remedy: str
) -> None:
    with serve("logs") as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", fake.url)
        fake.mode = lambda _call, _records: Reply(status=400, code=code)
        outcome = Firehose(AWS, "logs").put([record(b"x")])

    assert isinstance(outcome.error, ConfigError)
    assert code in outcome.error.why
    assert remedy in outcome.error.remedy


def test_only_what_may_have_arrived_is_called_uncertain(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve("logs") as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FIREHOSE", fake.url)
        firehose = Firehose(AWS, "logs")
        fake.mode = disconnect
        assert firehose.put([record(b"x")]).is_uncertain
        fake.mode = denied
        assert not firehose.put([record(b"x")]).is_uncertain
    assert not firehose.put([record(b"x")]).is_uncertain
