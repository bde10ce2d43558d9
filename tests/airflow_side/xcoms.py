"""An XCom store on the local cloud: a bucket with versions, and a key of KMS."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.config import Config

from airflow_ecs.xcom.data_keys import DataKeys
from airflow_ecs.xcom.keys import Coordinate
from airflow_ecs.xcom.objects import Objects
from airflow_ecs.xcom.settings import XComSettings
from airflow_ecs.xcom.store import XComStore
from local_cloud.testing import LocalCloud

TASK = Coordinate(dag_id="dag", run_id="manual__2026-01-01T00:00:00+00:00", task_id="task")
_ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=30)


class XComs:
    """What a test of the store needs; ``store`` makes one with the settings that the test is about."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.s3 = self.client("s3")
        self.kms = self.client("kms")
        self.key_id: str = self.kms.create_key()["KeyMetadata"]["KeyId"]
        self.bucket = self.new_bucket(versioned=True)

    def client(self, service: str) -> Any:
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.cloud.url,
            region_name="us-east-1",
            aws_access_key_id="t",
            aws_secret_access_key="t",
            config=_ONCE,
        )

    def new_bucket(self, *, versioned: bool) -> str:
        bucket = f"xcoms-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=bucket)
        if versioned:
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return bucket

    def settings(self, **given: Any) -> XComSettings:
        return XComSettings(**{"bucket": self.bucket, "prefix": "xcom", "kms_key_id": self.key_id, **given})

    def store(self, **given: Any) -> XComStore:
        settings = self.settings(**given)
        objects = Objects(self.s3, kms_key_id=settings.kms_key_id, bucket_key=settings.bucket_key)
        keys = DataKeys(self.kms, settings.kms_key_id)
        return XComStore(settings, objects, keys, to_json=lambda value: value, from_json=lambda value: value)

    def object_of(self, reference: dict[str, Any]) -> Any:
        """HeadObject of what a reference means."""
        bucket, _, key = reference["uri"].removeprefix("s3://").partition("/")
        version = {"VersionId": reference["version_id"]} if reference["version_id"] else {}
        return {"Bucket": bucket, "Key": unquote(key), **version}

    def head(self, reference: dict[str, Any]) -> Any:
        return self.s3.head_object(**self.object_of(reference))

    def body(self, reference: dict[str, Any]) -> bytes:
        found: bytes = self.s3.get_object(**self.object_of(reference))["Body"].read()
        return found

    def close(self) -> None:
        self.s3.close()
        self.kms.close()
