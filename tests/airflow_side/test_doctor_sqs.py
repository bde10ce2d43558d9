"""The doctor's judgement of queues, and its probe on a real (emulated) SQS."""

from __future__ import annotations

import json

import pytest

from airflow_ecs import doctor_sqs
from airflow_ecs.queue_findings import of_dags, of_queue

from .workers import Stage

RIGHT = {
    "VisibilityTimeout": "43200",
    "MessageRetentionPeriod": "86400",
    "DelaySeconds": "0",
    "KmsMasterKeyId": "alias/airflow",
    "RedrivePolicy": json.dumps({"deadLetterTargetArn": "arn", "maxReceiveCount": 10}),
}


def test_a_queue_as_the_profile_wants_it_is_one_line() -> None:
    assert [each.level for each in of_queue("default", RIGHT)] == ["ok"]


@pytest.mark.parametrize(
    ("changed", "level", "says"),
    [
        ({"VisibilityTimeout": "1800"}, "warning", "delivered a second time"),
        ({"RedrivePolicy": json.dumps({"maxReceiveCount": 2})}, "error", "its task never runs"),
        ({"MessageRetentionPeriod": "60"}, "error", "are gone"),
        ({"MessageRetentionPeriod": "1209600"}, "warning", "worthless"),
        ({"DelaySeconds": "10"}, "warning", "delays"),
        ({"FifoQueue": "true"}, "error", "FIFO"),
        ({"KmsMasterKeyId": ""}, "warning", "not encrypted"),
    ],
)
def test_each_attribute_that_differs_is_told_with_the_remedy(
    changed: dict[str, str], level: str, says: str
) -> None:
    (found,) = of_queue("default", {**RIGHT, **changed})
    assert found.level == level
    assert says in found.text


def test_a_queue_without_a_dead_letter_queue_is_told() -> None:
    attributes = {name: value for name, value in RIGHT.items() if name != "RedrivePolicy"}
    (found,) = of_queue("default", attributes)
    assert "no dead-letter queue" in found.text


def test_queues_that_dags_use_and_celery_does_not_know_are_named() -> None:
    (found,) = of_dags({"default", "gpu"}, ["default"])
    assert (found.level, "'gpu'" in found.text) == ("error", True)
    assert of_dags({"default"}, ["default", "heavy"])[0].level == "ok"


def test_the_queues_of_a_serialized_dag_are_found_in_plain_and_mapped_tasks() -> None:
    data = {
        "dag": {
            "tasks": [
                {"__type": "operator", "__var": {"task_id": "a", "queue": "heavy"}},
                {"__type": "operator", "__var": {"task_id": "b"}},
                {"__type": "operator", "__var": {"task_id": "c", "partial_kwargs": {"queue": "gpu"}}},
            ]
        }
    }
    assert doctor_sqs.queues_of(data) == doctor_sqs.queues_of(json.dumps(data)) == {"heavy", "gpu"}


@pytest.mark.integration
def test_the_probe_is_sent_received_and_deleted_and_other_messages_stay(stage: Stage) -> None:
    stage.put("default", "somebody's")
    found = doctor_sqs.probe(stage.sqs, "default", stage.queues["default"])
    assert found.level == "ok", found
    assert stage.counts("default") == (1, 0)


@pytest.mark.integration
def test_a_queue_that_is_not_there_or_not_allowed_is_an_error_with_its_reason(stage: Stage) -> None:
    url = f"{stage.queues['default']}-gone"
    (found,) = doctor_sqs.look_at(stage.sqs, "default", url)
    assert (found.level, "cannot be read" in found.text) == ("error", True)
    assert "failed at sqs:SendMessage" in doctor_sqs.probe(stage.sqs, "default", url).text


@pytest.mark.integration
def test_the_attributes_are_those_of_the_real_queue(stage: Stage) -> None:
    levels = {
        each.text.split(" ")[0]: each.level
        for each in doctor_sqs.look_at(stage.sqs, "d", stage.queues["default"])
    }
    assert levels["VisibilityTimeout"] == "warning"
