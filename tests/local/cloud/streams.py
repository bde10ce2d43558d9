"""A delivery stream to look into, for tests of what reaches S3."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

Client = Callable[..., Any]


class Stream:
    """A delivery stream of its own and the bucket that it delivers to."""

    def __init__(self, client: Client, **destination: Any) -> None:
        self.firehose, self.s3 = client("firehose"), client("s3")
        self.name = f"stream-{uuid.uuid4().hex}"
        self.s3.create_bucket(Bucket=self.name)
        self.firehose.create_delivery_stream(
            DeliveryStreamName=self.name,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                "BucketARN": f"arn:aws:s3:::{self.name}",
                **destination,
            },
        )

    def put(self, *contents: bytes) -> Any:
        records = [{"Data": content} for content in contents]
        return self.firehose.put_record_batch(DeliveryStreamName=self.name, Records=records)

    def delivered(self) -> dict[str, bytes]:
        """Content by key."""
        listed = self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])
        keys = [found["Key"] for found in listed]
        return {key: self.s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}
