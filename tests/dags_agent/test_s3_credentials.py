"""Credentials of an ECS task: they end, and new ones are fetched without a failed pass."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dags_agent.s3.credentials import Credentials
from sidecar.aws import Aws
from sidecar.clock import SystemClock
from sidecar.errors import ConfigError, SidecarError

from .s3_clients import connected, only, read
from .s3_server import StubBucket


class TaskRole:
    """The endpoint in an ECS task that gives credentials; each time others, unless it is silent."""

    def __init__(self) -> None:
        self.given = 0
        self.lifetime = timedelta(hours=6)
        self.is_silent = False
        role = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(role.give()).encode()
                self.send_response(500 if role.is_silent else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/role"

    def give(self) -> dict[str, str]:
        self.given += 1
        ends = datetime.now(UTC) + self.lifetime  # noqa: TID251 - a server has a clock of its own
        return {
            "AccessKeyId": f"KEY{self.given}",
            "SecretAccessKey": f"secret-{self.given}",
            "Token": f"token-{self.given}",
            "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def role(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskRole]:
    made = TaskRole()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", made.url)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    yield made
    made.close()


def fresh() -> Aws:
    return Aws(service="dags-agent", version="0")


async def test_credentials_are_fetched_once_and_sign_with_their_token(
    role: TaskRole, bucket: StubBucket
) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.set_up(secrets={"KEY1": "secret-1"}, is_recorded=True)
    async with connected(bucket.name, "native", aws=fresh(), clock=SystemClock()) as source:
        for _ in range(5):
            assert await read(source, await only(source)) == (b"1", "")
    assert role.given == 1
    assert {headers["x-amz-security-token"] for headers in bucket.headers()} == {"token-1"}


async def test_credentials_that_s3_takes_for_ended_are_renewed_within_the_request(
    role: TaskRole, bucket: StubBucket
) -> None:
    bucket.put("dags/a.py", b"1")
    bucket.set_up(secrets={"KEY1": "secret-1", "KEY2": "secret-2"})
    async with connected(bucket.name, "native", aws=fresh(), clock=SystemClock()) as source:
        item = await only(source)
        bucket.set_up(secrets={"KEY1": "expired", "KEY2": "secret-2"})
        assert await read(source, item) == (b"1", "")
    assert role.given == 2
    assert bucket.counts()["get:400"] == 1


async def test_credentials_near_their_end_are_renewed_before_it(role: TaskRole) -> None:
    role.lifetime = timedelta(minutes=5)
    credentials = Credentials(fresh())
    first = await credentials.keys()
    role.lifetime = timedelta(hours=6)
    second = await credentials.keys()
    assert first.access_key != second.access_key
    assert await credentials.keys() is second


async def test_keys_refused_twice_at_once_are_renewed_once(role: TaskRole) -> None:
    credentials = Credentials(fresh())
    refused = await credentials.keys()
    await credentials.renew(refused)
    renewed = await credentials.keys()
    await credentials.renew(refused)
    assert await credentials.keys() is renewed
    assert role.given == 2


async def test_no_credentials_at_all_say_what_to_give(
    role: TaskRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    with pytest.raises(ConfigError, match="task role"):
        await Credentials(fresh()).keys()


async def test_a_silent_task_role_is_an_error_in_plain_words(role: TaskRole) -> None:
    role.is_silent = True
    with pytest.raises(SidecarError, match="Cannot sign requests"):
        await Credentials(fresh()).keys()
