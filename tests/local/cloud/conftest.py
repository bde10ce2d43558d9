"""One local cloud for all tests of this folder, and ordinary boto3 clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local_cloud.testing import LocalCloud


@pytest.fixture(scope="session")
def running_cloud() -> Iterator[LocalCloud]:
    with LocalCloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(running_cloud: LocalCloud) -> Iterator[LocalCloud]:
    """The local cloud, without the faults of other tests. Names in it are shared: make your own."""
    running_cloud.clear_faults()
    yield running_cloud
    running_cloud.clear_faults()


@pytest.fixture
def client(cloud: LocalCloud) -> Iterator[Callable[..., Any]]:
    """Make a boto3 client that never retries, so that a test sees each answer."""
    clients = []

    def make(service: str, *, read_timeout_seconds: float = 20) -> Any:
        made = boto3.client(
            service,  # type: ignore[call-overload]  # any service
            endpoint_url=cloud.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(
                retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=read_timeout_seconds
            ),
        )
        clients.append(made)
        return made

    yield make
    for made in clients:
        made.close()
