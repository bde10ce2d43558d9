"""The REST source against the fake API: the contract, and what a real server would not do on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from sidecar.errors import ConfigError, SidecarError, Transient
from sidecar.secrets import Secret
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.sources.facts import Meaning
from worker_scaler.sources.rest import RestSource
from worker_scaler.sources.rest_client import RestClient

from .fake_airflow_api import FakeAirflowApi, served
from .rest_contract import Open, RestContract


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


@pytest.fixture
def api() -> Iterator[FakeAirflowApi]:
    with served(FakeAirflowApi()) as serving:
        yield serving


@pytest.fixture
def opened(api: FakeAirflowApi) -> Iterator[Open]:
    with ExitStack() as stack:

        def make(
            *,
            password: str | Secret | None = None,
            clock: FakeClock | None = None,
            url: str = "",
        ) -> RestSource:
            secret = (
                password
                if isinstance(password, Secret)
                else Secret(literal=password or api.password, read=no_secrets)
            )
            clock = clock or FakeClock()
            client = RestClient(
                url or api.url,
                username=api.username,
                password=secret,
                timeout_seconds=10.0,
                clock=clock,
            )
            source = RestSource(client, queues=["heavy", "light"], meaning=Meaning(), clock=clock)
            return stack.enter_context(closing(source))

        yield make


class TestTheFake(RestContract):
    pass


def test_a_token_is_kept_and_renewed_before_it_ends(api: FakeAirflowApi, opened: Open) -> None:
    clock = FakeClock()
    source = opened(clock=clock)
    api.lifetime_seconds = 600
    source.read()
    clock.advance(500)
    source.read()
    assert len(api.tokens) == 1

    clock.advance(60)
    source.read()

    assert len(api.tokens) == 2


def test_a_token_that_is_refused_is_replaced_at_once(api: FakeAirflowApi, opened: Open) -> None:
    source = opened()
    source.read()
    api.tokens.append("the api-server was restarted with another secret")

    assert source.read().queues == {}
    assert len(api.tokens) == 3


def test_a_rotated_password_is_read_again(api: FakeAirflowApi, opened: Open) -> None:
    stored = ["old-password", api.password]
    rotating = Secret(secret_id="api", read=lambda _id: stored.pop(0))

    assert opened(password=rotating).read().queues == {}


def test_a_row_that_ends_between_two_pages_makes_the_list_be_read_again(
    api: FakeAirflowApi, opened: Open
) -> None:
    for number in range(150):
        api.task("running", hostname=f"10.0.0.{number}")
    listings = 0

    def one_ends(path: str) -> None:
        nonlocal listings
        listings += path.endswith("taskInstances")
        if listings == 3:  # queued, the first page of running, and now the second
            api.rows[5]["state"] = "success"

    api.before_each = one_ends

    hosts = opened().read().queues["heavy"].busy_hosts

    assert len(hosts) == 149
    assert "10.0.0.149" in hosts


def test_a_list_that_never_stands_still_is_no_reading(api: FakeAirflowApi, opened: Open) -> None:
    for number in range(250):
        api.task("running", hostname=f"10.0.0.{number}")
    api.before_each = lambda _path: api.rows.__delitem__(0)

    with pytest.raises(Transient, match="came and went"):
        opened().read()


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (500, Transient, "HTTP 500"),
        (503, Transient, "HTTP 503"),
        (429, Transient, "HTTP 429"),
        (302, ConfigError, "past any login page"),
        (404, ConfigError, "api-server of Airflow 3"),
        (403, ConfigError, "role Viewer"),
    ],
)
def test_an_error_is_no_reading_and_says_what_to_do(
    api: FakeAirflowApi, opened: Open, status: int, kind: type[SidecarError], said: str
) -> None:
    source = opened()
    source.read()
    api.failing = status

    with pytest.raises(kind, match=said):
        source.read()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b"{}",
        b'{"task_instances": [], "total_entries": null}',
        b'{"task_instances": [{"id": "1"}], "total_entries": 1}',
    ],
)
def test_an_answer_that_is_not_whole_is_no_reading(api: FakeAirflowApi, opened: Open, body: bytes) -> None:
    api.body = body or b" "

    with pytest.raises(Transient):
        opened().read()


def test_a_reading_has_one_deadline_for_all_its_requests(api: FakeAirflowApi, opened: Open) -> None:
    clock = FakeClock()
    api.before_each = lambda _path: clock.advance(6)

    with pytest.raises(Transient, match="did not answer in time"):
        opened(clock=clock).read()


def test_nobody_there_is_no_reading(opened: Open) -> None:
    with pytest.raises(Transient, match="does not answer"):
        opened(url="http://127.0.0.1:1").read()
