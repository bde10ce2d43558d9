from __future__ import annotations

import json
import random
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ReadTimeoutError

from local_cloud.call import Call
from local_cloud.faults import Fault, FaultBoard, Kind
from local_cloud.testing import LocalCloud

from .streams import Client, Stream


@pytest.mark.parametrize(
    ("service", "operation", "error"),
    [
        ("firehose", lambda c: c.list_delivery_streams(), ("ServiceUnavailableException", 500)),
        ("s3", lambda c: c.list_buckets(), ("SlowDown", 503)),
        ("sqs", lambda c: c.list_queues(), ("RequestThrottled", 400)),
        ("secretsmanager", lambda c: c.list_secrets(), ("ThrottlingException", 400)),
        ("sts", lambda c: c.get_caller_identity(), ("ThrottlingException", 400)),
        ("monitoring", lambda c: c.list_metrics(), ("ThrottlingException", 400)),
        ("elasticfilesystem", lambda c: c.describe_file_systems(), ("ThrottlingException", 400)),
    ],
)
def test_throttling_is_read_by_boto3_as_the_services_own(
    cloud: LocalCloud, client: Client, service: str, operation: Callable[[Any], Any], error: tuple[str, int]
) -> None:
    cloud.add_faults({"service": service, "kind": "throttle", "count": 1})
    made = client({"monitoring": "cloudwatch", "elasticfilesystem": "efs"}.get(service, service))
    with pytest.raises(ClientError) as refused:
        operation(made)
    answered = refused.value.response
    assert (answered["Error"]["Code"], answered["ResponseMetadata"]["HTTPStatusCode"]) == error
    operation(made)  # the count is used up


def test_an_error_may_be_any_and_hits_its_action_alone(cloud: LocalCloud, client: Client) -> None:
    cloud.add_faults(
        {"service": "sqs", "action": "ListQueues", "kind": "error", "code": "AccessDenied", "status": 403}
    )
    sqs = client("sqs")
    sqs.create_queue(QueueName=uuid.uuid4().hex)
    for _ in range(3):
        with pytest.raises(ClientError, match="AccessDenied"):
            sqs.list_queues()
    cloud.clear_faults()
    sqs.list_queues()


def test_a_head_request_is_told_its_error_by_status(cloud: LocalCloud, client: Client) -> None:
    s3 = client("s3")
    bucket = uuid.uuid4().hex
    s3.create_bucket(Bucket=bucket)
    cloud.add_faults({"service": "s3", "action": "HeadBucket", "kind": "error", "count": 1})
    with pytest.raises(ClientError, match="500"):
        s3.head_bucket(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)


def test_latency_is_longer_than_an_impatient_client_waits(cloud: LocalCloud, client: Client) -> None:
    impatient = client("sqs", read_timeout_seconds=0.2)
    cloud.add_faults({"service": "sqs", "kind": "latency", "seconds": 2.0, "count": 1})
    with pytest.raises(ReadTimeoutError):
        impatient.list_queues()
    client("sqs").list_queues()


def test_a_partial_failure_delivers_exactly_what_it_accepted(cloud: LocalCloud, client: Client) -> None:
    stream = Stream(client)
    cloud.add_faults(
        {"service": "firehose", "action": "PutRecordBatch", "kind": "partial", "fraction": 0.3, "count": 1}
    )
    contents = [f"{number}\n".encode() for number in range(100)]
    answered = stream.put(*contents)
    assert answered["FailedPutCount"] == 30
    failed = [response for response in answered["RequestResponses"] if "ErrorCode" in response]
    assert failed == [{"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}] * 30
    accepted = [
        content
        for content, response in zip(contents, answered["RequestResponses"], strict=True)
        if "RecordId" in response
    ]
    assert list(stream.delivered().values()) == [b"".join(accepted)]


def test_a_whole_batch_can_be_turned_away_without_an_exception(cloud: LocalCloud, client: Client) -> None:
    stream = Stream(client)
    cloud.add_faults({"service": "firehose", "action": "PutRecordBatch", "kind": "partial", "fraction": 1.0})
    assert stream.put(b"a", b"b")["FailedPutCount"] == 2
    assert not stream.delivered()


def test_a_disconnect_happens_before_the_call_and_a_lost_answer_after_it(
    cloud: LocalCloud, client: Client
) -> None:
    stream = Stream(client)
    cloud.add_faults({"service": "firehose", "kind": "disconnect", "count": 1})
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        stream.put(b"never")
    assert not stream.delivered()
    cloud.add_faults({"service": "firehose", "kind": "answer_lost", "count": 1})
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        stream.put(b"twice")
    stream.put(b"twice")
    assert list(stream.delivered().values()) == [b"twice", b"twice"]


def test_a_lost_answer_of_motos_own_services_happened_too(cloud: LocalCloud, client: Client) -> None:
    s3 = client("s3")
    bucket = uuid.uuid4().hex
    s3.create_bucket(Bucket=bucket)
    cloud.add_faults({"service": "s3", "action": "PutObject", "kind": "answer_lost", "count": 1})
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        s3.put_object(Bucket=bucket, Key="k", Body=b"written")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"written"


def test_calls_are_counted_by_service_and_action_also_when_they_fail(
    cloud: LocalCloud, client: Client
) -> None:
    s3, sqs, bucket = client("s3"), client("sqs"), uuid.uuid4().hex
    before = cloud.calls("s3"), cloud.calls("sqs")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"1")
    s3.put_object(Bucket=bucket, Key="c", Body=b"2")
    s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": "c"})
    s3.get_object(Bucket=bucket, Key="c")["Body"].read()
    s3.list_objects_v2(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c"}]})
    cloud.add_faults({"service": "sqs", "kind": "throttle"})
    with pytest.raises(ClientError):
        sqs.list_queues()
    assert difference(cloud.calls("s3"), before[0]) == {
        "CreateBucket": 1,
        "PutObject": 2,
        "CopyObject": 1,
        "GetObject": 1,
        "ListObjectsV2": 1,
        "PutBucketVersioning": 1,
        "DeleteObjects": 1,
    }
    assert difference(cloud.calls("sqs"), before[1]) == {"ListQueues": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b'{"service": "sqs"}',
        b'[{"service": "sqs", "kind": "gremlin"}]',
        b'[{"service": "sqs", "kind": "error", "colour": "red"}]',
        b'[{"service": "sqs", "kind": "error", "probability": 2}]',
        b'[{"service": "sqs", "kind": "partial", "fraction": 0.5}]',
        b'[{"service": "firehose", "action": "PutRecordBatch", "kind": "partial"}]',
        b"[7]",
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(cloud: LocalCloud, body: bytes) -> None:
    request = urllib.request.Request(f"{cloud.url}/_local/faults", data=body, method="POST")  # noqa: S310  # loopback
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310  # loopback
    with refused.value:
        assert refused.value.code == 400
        assert json.load(refused.value)["error"]


def test_unknown_local_addresses_name_the_known_ones(cloud: LocalCloud) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{cloud.url}/_local/nothing", timeout=10)  # noqa: S310  # loopback
    with refused.value:
        assert "/_local/faults" in json.load(refused.value)["error"]


def test_probability_hits_about_that_share_of_the_calls() -> None:
    board = FaultBoard(random.Random(7))  # noqa: S311  # chance for tests
    board.add([Fault(service="sqs", kind=Kind.THROTTLE, probability=0.25)])
    call = Call(service="sqs", action="SendMessage", region="us-east-1", protocol="json", body=b"")
    hits = sum(bool(board.hit(call)) for _ in range(4000))
    assert 900 < hits < 1100
    assert board.calls() == {"sqs": {"SendMessage": 4000}}


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {
        action: count - before.get(action, 0)
        for action, count in after.items()
        if count > before.get(action, 0)
    }
