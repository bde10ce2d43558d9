"""What the tests of dags-agent share: an S3 stub for the session, a bucket of it for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from benchmarks.dags_agent.s3_stub.process import StubProcess

from .s3_server import StubBucket


@pytest.fixture(scope="session")
def s3_stub() -> Iterator[StubProcess]:
    stub = StubProcess()
    yield stub
    stub.close()


@pytest.fixture
def bucket(s3_stub: StubProcess, aws: str, monkeypatch: pytest.MonkeyPatch) -> StubBucket:
    """An empty bucket of the stub, and every AWS SDK of this process pointed at it."""
    made = StubBucket(port=s3_stub.port, name=f"bucket-{uuid.uuid4().hex}")
    made.set_up()
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    return made
