"""The database and SQS compared: agreement before zero, ghosts and lost messages named."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from hypothesis import given, strategies as st

from sidecar.testing.fake_clock import FakeClock
from worker_scaler.crosscheck import Agreement, Messages, Patience, QueueCheck, Tasks, Track, compare, demand
from worker_scaler.decide import decide
from worker_scaler.decision import Why
from worker_scaler.memory import Memory
from worker_scaler.model import QueueDepth, Reading
from worker_scaler.sources.sqs import CrossCheck, SqsQueues
from worker_scaler.steps import SetDesired

from .fakes import NOON, fleet, sighting, worker

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient

TICK = timedelta(seconds=10)
NOTHING = Tasks(queued=0, holding=0, oldest_queued_age=timedelta(0))
counts = st.integers(min_value=0, max_value=50)


def watch(tasks: Tasks, *messages: Messages | None) -> list[QueueCheck]:
    """Compare the same tasks with these counts, a tick apart."""
    checks, track = [], Track()
    for number, sample in enumerate(messages):
        check, track = compare(tasks, sample, track, Patience(), now=NOON + number * TICK)
        checks.append(check)
    return checks


def test_zero_is_doubted_until_sqs_agreed_three_times() -> None:
    empty = Messages(visible=0, in_flight=0)

    doubts = [check.doubt for check in watch(NOTHING, empty, empty, empty, empty)]

    assert doubts == ["SQS has not agreed often enough yet"] * 2 + ["", ""]


def test_no_answer_is_a_doubt_and_begins_the_count_anew() -> None:
    empty = Messages(visible=0, in_flight=0)

    checks = watch(NOTHING, empty, empty, None, empty, empty, empty)

    assert [bool(check.doubt) for check in checks] == [True, True, True, True, True, False]
    assert checks[2].agreement is Agreement.NO_ANSWER


def test_messages_without_a_task_are_ghosts_once_they_outlast_the_lag_of_sqs() -> None:
    ghosts = Messages(visible=0, in_flight=2)

    checks = watch(NOTHING, *[ghosts] * 19)

    assert [check.agreement for check in checks] == [Agreement.UNPROVEN] * 18 + [Agreement.GHOSTS]
    assert checks[-1].affected == 2
    assert not checks[-1].doubt


def test_a_disagreement_that_ends_in_between_proves_nothing() -> None:
    ghosts, empty = Messages(visible=0, in_flight=2), Messages(visible=0, in_flight=0)

    assert all(
        check.agreement is not Agreement.GHOSTS
        for check in watch(NOTHING, *[ghosts] * 15, empty, *[ghosts] * 15)
    )


def test_tasks_that_wait_for_minutes_without_a_message_are_lost() -> None:
    waiting = Tasks(queued=3, holding=1, oldest_queued_age=timedelta(minutes=4))

    checks = watch(waiting, *[Messages(visible=0, in_flight=1)] * 8)

    assert checks[-1].agreement is Agreement.LOST
    assert checks[-1].affected == 3


def test_messages_that_were_received_and_not_started_for_minutes_are_swallowed() -> None:
    waiting = Tasks(queued=1, holding=1, oldest_queued_age=timedelta(minutes=4))

    checks = watch(waiting, *[Messages(visible=0, in_flight=2)] * 8)

    assert checks[-1].agreement is Agreement.SWALLOWED


@given(counts, counts, counts, counts, st.integers(min_value=0, max_value=100))
def test_while_a_message_is_visible_or_a_task_is_young_nothing_is_lost(
    queued: int, holding: int, visible: int, in_flight: int, age_seconds: int
) -> None:
    tasks = Tasks(queued=queued, holding=holding, oldest_queued_age=timedelta(seconds=age_seconds))

    for check in watch(tasks, *[Messages(visible=visible, in_flight=in_flight)] * 30):
        assert check.agreement not in (Agreement.LOST, Agreement.SWALLOWED)


@given(counts, counts, counts)
def test_sqs_alone_counts_every_message_but_proven_ghosts(visible: int, in_flight: int, ghosts: int) -> None:
    messages = Messages(visible=visible, in_flight=in_flight)

    assert demand(messages, Track()) == messages.total
    assert visible <= demand(messages, Track(ghosts=ghosts)) <= messages.total


def test_how_long_a_message_has_been_visible_is_known() -> None:
    one = Messages(visible=1, in_flight=0)

    assert watch(NOTHING, *[one] * 4)[-1].visible_for_seconds == pytest.approx(30)


# ---------------------------------------------------------------- what the decision makes of it


def test_a_doubted_fleet_keeps_its_last_worker_and_an_undoubted_one_ends_at_zero() -> None:
    policy, seen = fleet(), sighting(1, worker(1, protected=False))
    doubted = Reading(taken_at=NOON, queues={"heavy": QueueDepth(doubt="SQS counts 1 messages")})

    assert decide(policy, seen, doubted, Memory(), now=NOON).why is Why.ZERO_DOUBTED


def test_sqs_alone_raises_a_count_and_never_lowers_one() -> None:
    policy = fleet()
    many = Reading(taken_at=NOON, queues={"heavy": QueueDepth(queued=6)}, is_complete=False)
    none = Reading(taken_at=NOON, queues={"heavy": QueueDepth(queued=0)}, is_complete=False)
    seen = sighting(2, worker(1), worker(2))

    raised = decide(policy, seen, many, Memory(), now=NOON)
    held = decide(policy, seen, none, Memory(), now=NOON)

    assert raised.numbers.desired_after == 3
    assert held.numbers.desired_after == 2
    assert not any(isinstance(step, SetDesired) for step in held.steps)


# ---------------------------------------------------------------- against SQS (moto server)


@pytest.fixture
def sqs(aws: str) -> Iterator[SQSClient]:
    client = boto3.Session().client("sqs")
    yield client
    client.close()


class Told:
    """Events that remember."""

    def __init__(self) -> None:
        self.checks: dict[str, QueueCheck] = {}
        self.estimates: list[list[str]] = []

    def checked(self, checks: dict[str, QueueCheck]) -> None:
        self.checks = checks

    def estimated(self, queues: list[str]) -> None:
        self.estimates.append(list(queues))


def checking(client: SQSClient, told: Told, **urls: str) -> CrossCheck:
    return CrossCheck(SqsQueues(client, urls), clock=FakeClock(NOON), events=told)  # type: ignore[arg-type]  # it tells


@pytest.mark.integration
def test_the_counts_of_a_real_queue_become_a_doubt_of_the_reading(sqs: SQSClient) -> None:
    url = sqs.create_queue(QueueName=f"heavy-{uuid.uuid4().hex}")["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)
    told = Told()

    read = checking(sqs, told, heavy=url)(Reading(taken_at=NOON, queues={}))

    assert read is not None
    assert read.queues["heavy"].doubt == "SQS counts 3 messages, the database no task"
    assert told.checks["heavy"].messages == Messages(visible=2, in_flight=1)


@pytest.mark.integration
def test_a_queue_that_is_not_there_is_a_doubt_and_not_an_empty_queue(sqs: SQSClient) -> None:
    told = Told()

    read = checking(sqs, told, heavy="http://127.0.0.1:1/nowhere")(Reading(taken_at=NOON, queues={}))

    assert read is not None
    assert read.queues["heavy"].doubt == "SQS does not answer"


@pytest.mark.integration
def test_without_a_reading_sqs_speaks_from_the_second_tick_on_and_only_in_part(sqs: SQSClient) -> None:
    url = sqs.create_queue(QueueName=f"heavy-{uuid.uuid4().hex}")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="work")
    told = Told()
    check = checking(sqs, told, heavy=url)

    assert check(None) is None
    estimate = check(None)

    assert estimate is not None
    assert not estimate.is_complete
    assert estimate.queues["heavy"].queued == 1
    assert told.estimates == [["heavy"]]
