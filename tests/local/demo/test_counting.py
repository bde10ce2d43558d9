from __future__ import annotations

import gzip
import json
import uuid
from collections import Counter
from pathlib import Path

import boto3

from demo import counting


def test_lines_are_counted_per_file_with_an_unfinished_last_line(tmp_path: Path) -> None:
    for name, data in {"a": b"1\n2\n", "b": b"1\n2", "empty": b""}.items():
        (tmp_path / name).write_bytes(data)

    counts = counting.written(sorted(tmp_path.iterdir()))

    assert {Path(file).name: count for file, count in counts.items()} == {"a": 2, "b": 2}


def test_arrived_lines_are_counted_once_by_their_id_in_plain_and_compressed_objects(aws: str) -> None:
    s3 = boto3.client("s3", endpoint_url=aws)
    bucket = f"logs-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    lines = [
        json.dumps({"_fwd": {"id": f"{number}", "source": f"/log/{number % 2}"}}).encode() + b"\n"
        for number in range(5)
    ]
    s3.put_object(Bucket=bucket, Key="one", Body=b"".join(lines[:3]))
    s3.put_object(Bucket=bucket, Key="two", Body=gzip.compress(b"".join(lines[2:])))

    found = counting.arrived(s3, bucket)

    assert (found.distinct, found.twice) == (5, 1)
    assert found.by_source == Counter({"/log/0": 3, "/log/1": 2})


def test_differences_name_the_file_with_both_counts() -> None:
    lines = counting.differences(Counter({"a": 3, "b": 1}), Counter({"a": 1, "b": 1, "c": 1}))

    assert lines == ["a: 3 written, 1 found", "c: 0 written, 1 found"]
