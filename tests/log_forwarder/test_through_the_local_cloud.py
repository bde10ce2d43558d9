"""From files to objects in S3, through a Firehose that somebody else wrote and that misbehaves."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud.testing import LocalCloud
from sidecar.testing.plugin import Finished

pytestmark = pytest.mark.integration


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    with LocalCloud() as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def stream(cloud: LocalCloud) -> str:
    name = f"logs-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    boto3.client("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{name}",
        },
    )
    return name


def lines_in(bucket: str) -> list[dict[str, Any]]:
    s3 = boto3.client("s3")
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_throttling_partial_failures_and_lost_answers_lose_nothing_and_repeats_can_be_removed(
    cloud: LocalCloud, stream: str, tmp_path: Path, run_sidecar: Callable[..., Finished]
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in range(4):
        lines = "".join(f'{{"n":{n},"pad":"{"x" * 900}"}}\n' for n in range(1000))
        (logs / f"{name}.log").write_text(lines)
    action = {"service": "firehose", "action": "PutRecordBatch"}
    # Faults hit together: the first call is throttled, the second fails partially (its one
    # record) and loses its answer, the third delivers and loses its answer.
    cloud.add_faults(
        {**action, "kind": "throttle", "count": 1},
        {**action, "kind": "answer_lost", "count": 3},
        {**action, "kind": "partial", "fraction": 0.5, "count": 2},
    )

    done = run_sidecar(
        "log_forwarder",
        "once",
        settings={
            **cloud.environment(),
            "LOG_FORWARDER_STREAM": stream,
            "LOG_FORWARDER_TAIL": json.dumps([f"{logs}/*.log"]),
            "LOG_FORWARDER_STATE_DIR": str(tmp_path / "state"),
        },
    )

    assert done.code == 0, done.out
    found = lines_in(stream)
    by_id = {line["_fwd"]["id"]: line for line in found}
    assert Counter(line["_fwd"]["source"] for line in by_id.values()) == {
        str(logs / f"{name}.log"): 1000 for name in range(4)
    }
    assert len(found) > len(by_id)  # a call whose answer was lost came twice, with the same ids
    assert all(by_id[line["_fwd"]["id"]] == line for line in found)
