from __future__ import annotations

import gzip
import re

import pytest
from botocore.exceptions import ClientError

from local_cloud import firehose as limits

from .streams import Client, Stream


def test_all_records_of_a_batch_become_one_object_in_order(client: Client) -> None:
    stream = Stream(client)
    answered = stream.put(b"one\n", b"two\n", b"three\n")
    assert answered["FailedPutCount"] == 0
    assert len({response["RecordId"] for response in answered["RequestResponses"]}) == 3
    ((key, content),) = stream.delivered().items()
    assert content == b"one\ntwo\nthree\n"
    name = rf"\d{{4}}/\d\d/\d\d/\d\d/{stream.name}-1-\d{{4}}(-\d\d){{5}}-[0-9a-f-]{{36}}"
    assert re.fullmatch(name, key)


def test_put_record_delivers_one_record(client: Client) -> None:
    stream = Stream(client)
    answered = stream.firehose.put_record(DeliveryStreamName=stream.name, Record={"Data": b"alone\n"})
    assert answered["RecordId"]
    assert list(stream.delivered().values()) == [b"alone\n"]


def test_prefix_expressions_compression_and_the_key_are_the_destinations(client: Client) -> None:
    key_arn = client("kms").create_key()["KeyMetadata"]["Arn"]
    stream = Stream(
        client,
        Prefix="airflow/!{timestamp:'day='yyyy-MM-dd}/",
        CompressionFormat="GZIP",
        EncryptionConfiguration={"KMSEncryptionConfig": {"AWSKMSKeyARN": key_arn}},
    )
    stream.put(b"one\n", b"two\n")
    ((key, content),) = stream.delivered().items()
    assert re.match(r"airflow/day=\d{4}-\d\d-\d\d/stream-", key)
    assert key.endswith(".gz")
    assert gzip.decompress(content) == b"one\ntwo\n"
    head = stream.s3.head_object(Bucket=stream.name, Key=key)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key_arn)


def test_the_largest_calls_that_aws_takes_are_taken(client: Client) -> None:
    stream = Stream(client)
    stream.put(*[b"x"] * limits.MAX_BATCH_RECORDS)
    rest = limits.MAX_BATCH_BYTES - 4 * limits.MAX_RECORD_BYTES
    stream.put(*[b"y" * limits.MAX_RECORD_BYTES] * 4, b"y" * rest)
    assert sorted(map(len, stream.delivered().values())) == [limits.MAX_BATCH_RECORDS, limits.MAX_BATCH_BYTES]


@pytest.mark.parametrize(
    ("contents", "code", "text"),
    [
        ([b"x"] * 501, "ValidationException", "'records' failed .* less than or equal to 500"),
        (
            [b"ok", b"x" * 1_024_001],
            "ValidationException",
            r"lim=1024001 .*'records\.2\.member\.data'.* 1024000",
        ),
        (
            [b"x" * 1_000_000] * 4 + [b"x" * 194_305],
            "InvalidArgumentException",
            "Records size exceeds 4 MB limit",
        ),
    ],
    ids=["501-records", "record-too-large", "call-too-large"],
)
def test_a_call_above_a_limit_is_refused_and_nothing_is_delivered(
    client: Client, contents: list[bytes], code: str, text: str
) -> None:
    stream = Stream(client)
    with pytest.raises(ClientError, match=text) as refused:
        stream.put(*contents)
    assert refused.value.response["Error"]["Code"] == code
    assert not stream.delivered()


def test_a_stream_that_is_not_there_is_said_so(client: Client) -> None:
    firehose = client("firehose")
    with pytest.raises(firehose.exceptions.ResourceNotFoundException, match="Firehose nowhere under account"):
        firehose.put_record(DeliveryStreamName="nowhere", Record={"Data": b"x"})


def test_a_destination_that_cannot_be_served_is_an_error_and_not_silence(client: Client) -> None:
    stream = Stream(client)
    stream.s3.delete_bucket(Bucket=stream.name)
    with pytest.raises(ClientError, match=r"ServiceUnavailableException.*bucket stream-"):
        stream.put(b"x")


def test_describe_and_delete_are_still_there(client: Client) -> None:
    stream = Stream(client)
    described = stream.firehose.describe_delivery_stream(DeliveryStreamName=stream.name)
    assert described["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE"
    stream.firehose.delete_delivery_stream(DeliveryStreamName=stream.name)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        stream.put(b"x")
