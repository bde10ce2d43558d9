"""Make the store with real clients; boto3 is imported with the first value, not with the module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from airflow_ecs.xcom.data_keys import DataKeys
from airflow_ecs.xcom.objects import Objects
from airflow_ecs.xcom.settings import XComSettings
from airflow_ecs.xcom.store import XComStore

_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 3, 30, 5


def make_store(
    settings: XComSettings, *, to_json: Callable[[object], Any], from_json: Callable[[Any], object]
) -> XComStore:
    """Return a store for the credentials and the region of this process."""
    objects = Objects(client("s3"), kms_key_id=settings.kms_key_id, bucket_key=settings.bucket_key)
    return XComStore(
        settings, objects, DataKeys(_LazyKms(), settings.kms_key_id), to_json=to_json, from_json=from_json
    )


def client(service: str) -> Any:
    """Return a boto3 client with deadlines and few, jittered attempts."""
    import boto3.session  # noqa: PLC0415  # heavy; the image has it
    from botocore.config import Config  # noqa: PLC0415  # the same

    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        user_agent_extra="airflow-ecs",
    )
    make: Any = boto3.session.Session().client  # of any service
    return make(service, config=config)


class _LazyKms:
    """A KMS client that is made when something is encrypted here, which most processes never do."""

    @functools.cached_property
    def _client(self) -> Any:
        return client("kms")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
