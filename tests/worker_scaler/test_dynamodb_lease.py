"""One writer by DynamoDB (moto server), with clocks that the test owns and that do not agree."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from sidecar.errors import ConfigError
from sidecar.testing.fake_clock import FakeClock
from worker_scaler.dynamodb_lease import DynamoDbLease
from worker_scaler.lease import LeaseLostError

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

pytestmark = pytest.mark.integration

Copy = Callable[..., tuple[DynamoDbLease, FakeClock]]


@pytest.fixture
def client(aws: str) -> Iterator[DynamoDBClient]:
    made = boto3.Session().client("dynamodb")
    yield made
    made.close()


@pytest.fixture
def table(client: DynamoDBClient) -> str:
    name = f"leases-{uuid.uuid4().hex}"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.fixture
def copy(client: DynamoDBClient, table: str) -> Copy:
    def make(holder: str, *, through: Any = None) -> tuple[DynamoDbLease, FakeClock]:
        clock = FakeClock()
        clock.advance(len(holder) * 1000)  # monotonic clocks of two machines have nothing in common
        lease = DynamoDbLease(
            through or client, table=table, name="scaler", holder=holder, interval_seconds=10, clock=clock
        )
        return lease, clock

    return make


def test_the_first_copy_writes_and_the_second_stands_by_and_names_it(copy: Copy) -> None:
    (first, _), (second, _) = copy("one"), copy("number two")

    assert first.claim().is_writer
    standing = second.claim()

    assert (standing.is_writer, standing.holder) == (False, "one")
    with pytest.raises(LeaseLostError):
        second.check()


def test_a_copy_that_died_is_replaced_within_three_ticks(copy: Copy) -> None:
    (first, _), (second, clock) = copy("one"), copy("number two")
    first.claim()

    ticks = 0
    while not second.claim().is_writer:
        clock.advance(10)
        ticks += 1

    assert ticks <= 3


def test_a_copy_that_renews_is_never_replaced(copy: Copy) -> None:
    (first, its_clock), (second, clock) = copy("one"), copy("number two")
    for _ in range(12):
        assert first.claim().is_writer
        assert not second.claim().is_writer
        its_clock.advance(10)
        clock.advance(10)


def test_the_holder_stops_before_a_successor_may_begin(copy: Copy) -> None:
    (first, its_clock), (second, clock) = copy("one"), copy("number two")
    first.claim()
    second.claim()

    its_clock.advance(15)
    clock.advance(15)

    with pytest.raises(LeaseLostError, match="not renewed in time"):
        first.check()
    assert not second.claim().is_writer


def test_a_long_tick_renews_by_its_checks(copy: Copy) -> None:
    lease, clock = copy("one")
    lease.claim()
    for _ in range(6):
        clock.advance(9)
        lease.check()


def test_each_take_over_is_a_new_term_and_the_old_holder_is_fenced(copy: Copy) -> None:
    (first, its_clock), (second, clock) = copy("one"), copy("number two")
    assert first.claim().term == 1
    second.claim()
    clock.advance(20)

    assert second.claim().term == 2

    its_clock.advance(8)
    with pytest.raises(LeaseLostError, match="another copy took it over"):
        first.check()
    assert not first.claim().is_writer


def test_who_lets_go_is_replaced_at_once(copy: Copy) -> None:
    (first, _), (second, _) = copy("one"), copy("number two")
    first.claim()

    first.release()

    assert second.claim().is_writer


class LosesOneAnswer:
    """A client whose next write arrives, and whose answer does not."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client
        self.armed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **arguments: Any) -> Any:
        answer = self._client.put_item(**arguments)
        if self.armed:
            self.armed = False
            raise EndpointConnectionError(endpoint_url="http://nowhere")
        return answer


def test_a_lost_answer_does_not_cost_the_lease(copy: Copy, client: DynamoDBClient) -> None:
    flaky = LosesOneAnswer(client)
    lease, clock = copy("one", through=flaky)
    lease.claim()
    clock.advance(8)
    flaky.armed = True
    lease.check()

    lease.check()

    assert lease.claim().is_writer


def test_a_missing_table_is_a_wrong_setting(client: DynamoDBClient) -> None:
    lease = DynamoDbLease(
        client, table="nowhere", name="scaler", holder="one", interval_seconds=10, clock=FakeClock()
    )

    with pytest.raises(ConfigError, match="'nowhere'"):
        lease.claim()
