"""What Celery on SQS is given, and what is refused because it would lose or double tasks."""

from __future__ import annotations

import json

import pytest

from airflow_ecs import sqs_profile, versions
from airflow_ecs.sqs_profile import SqsProfileError

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/airflow"
AWS = {"AWS_REGION": "eu-west-1"}


def profile(queues: object = None, **environment: str) -> sqs_profile.Profile:
    text = queues if isinstance(queues, str) else json.dumps({"default": URL} if queues is None else queues)
    return sqs_profile.read({"AIRFLOW_ECS_SQS_QUEUES": text, **environment})


def settings(**options: object) -> dict[str, object]:
    made = sqs_profile.celery_settings(profile(), with_agent=True)
    return sqs_profile.merged(made, {"broker_transport_options": options})


def test_the_queues_come_from_one_variable_and_the_region_from_their_urls() -> None:
    found = profile({"default": URL, "heavy": f"{URL}-heavy"})
    assert found.queues == {"default": URL, "heavy": f"{URL}-heavy"}
    assert (found.region, found.is_secure) == ("eu-west-1", True)


def test_the_profile_is_that_of_the_reference() -> None:
    made = sqs_profile.celery_settings(profile(), with_agent=True)
    options = made["broker_transport_options"]
    assert made["broker_url"] == "sqs://"
    assert (made["task_acks_late"], made["worker_prefetch_multiplier"]) == (True, 1)
    assert made["worker_enable_remote_control"] is False
    assert (options["visibility_timeout"], options["wait_time_seconds"], options["polling_interval"]) == (
        43_200,
        20,
        0,
    )
    assert options["predefined_queues"] == {"default": {"url": URL}}


def test_the_agent_is_one_setting_that_can_be_left_out() -> None:
    assert "worker_consumer" not in sqs_profile.celery_settings(profile(), with_agent=False)
    assert sqs_profile.celery_settings(profile(), with_agent=True)["worker_consumer"].endswith(
        ":AgentConsumer"
    )


def test_an_emulator_on_this_machine_may_speak_plain_http() -> None:
    found = profile({"default": "http://127.0.0.1:4566/1/q"}, AWS_ENDPOINT_URL="http://localhost:4566", **AWS)
    assert found.is_secure is False


@pytest.mark.parametrize(
    ("queues", "environment", "says"),
    [
        ("", AWS, "no JSON"),
        ("[1]", AWS, "a JSON object"),
        ("{}", AWS, "a JSON object"),
        ('{"default": 1}', AWS, "a JSON object"),
        ({"default.fifo": f"{URL}.fifo"}, {}, "FIFO"),
        ({"default": f"{URL}.fifo"}, {}, "FIFO"),
        ({"my.queue": URL}, {}, "another name"),
        ({"default": "airflow"}, AWS, "no URL of a queue"),
        ({"default": "http://sqs.example.com/1/q"}, AWS, "plain HTTP"),
        (None, {"AWS_ENDPOINT_URL": "http://emulator:4566"}, "AWS_ENDPOINT_URL is plain HTTP"),
        (None, {"AWS_ENDPOINT_URL_SQS": "http://10.0.0.1"}, "AWS_ENDPOINT_URL_SQS is plain HTTP"),
        ({"default": "https://queue.example.com/1/q"}, {}, "no region"),
        ({"default": URL, "b": URL.replace("eu-west-1", "us-east-1")}, {}, "several regions"),
    ],
)
def test_queues_that_lose_or_expose_tasks_are_refused_with_the_remedy(
    queues: object, environment: dict[str, str], says: str
) -> None:
    with pytest.raises(SqsProfileError, match=says):
        profile(queues, **environment)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SqsProfileError) as caught:
        profile({"a.fifo": f"{URL}.fifo", "b": "http://sqs.example.com/1/q"})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"broker_transport_options": {"visibility_timeout": 86_400}}, "up to 43200"),
        ({"broker_transport_options": {"visibility_timeout": "a day"}}, "up to 43200"),
        ({"broker_transport_options": {"wait_time_seconds": 30}}, "1 to 20"),
        ({"task_acks_late": False}, "task_acks_late"),
        ({"broker_url": "redis://redis:6379/0"}, "not sqs://"),
        (
            {"broker_url": "sqs://host.example.com//", "broker_transport_options": {"is_secure": False}},
            "over HTTP",
        ),
    ],
)
def test_settings_that_lose_or_double_tasks_are_refused_with_the_remedy(
    changed: dict[str, object], says: str
) -> None:
    with pytest.raises(SqsProfileError, match=says):
        sqs_profile.refuse(sqs_profile.merged(settings(), changed), default_queue="default")


def test_a_default_queue_that_celery_does_not_know_is_refused() -> None:
    with pytest.raises(SqsProfileError, match="'other', which is none of default"):
        sqs_profile.refuse(settings(), default_queue="other")


def test_the_profile_itself_is_not_refused() -> None:
    sqs_profile.refuse(settings(), default_queue="default")


def test_merging_goes_member_by_member_and_changes_neither_side() -> None:
    below = {"a": {"x": 1, "y": 2}, "b": 1}
    above = {"a": {"y": 3, "z": 4}, "c": 5}
    assert sqs_profile.merged(below, above) == {"a": {"x": 1, "y": 3, "z": 4}, "b": 1, "c": 5}
    assert below == {"a": {"x": 1, "y": 2}, "b": 1}
    assert above == {"a": {"y": 3, "z": 4}, "c": 5}


@pytest.mark.parametrize("version", ["5.6.2", "5.5.0", "4.9"])
def test_a_kombu_that_strands_messages_is_refused(version: str) -> None:
    assert "pip install 'kombu[sqs]>=5.7'" in str(versions.kombu_problem(version))


@pytest.mark.parametrize("version", ["5.7.0", "5.10.1", "6.0"])
def test_a_newer_kombu_is_accepted(version: str) -> None:
    assert versions.kombu_problem(version) is None


def test_celery_5_7_with_a_provider_that_cannot_import_it_is_refused() -> None:
    source = "from celery.backends.database import DatabaseBackend, Task as TaskDb, retry\n"
    names = {"DatabaseBackend", "Task"}
    problem = versions.celery_problem("5.7.0", provider_source=source, has=names.__contains__)
    assert problem is not None
    assert "retry" in problem
    assert "celery<5.7" in problem
    assert versions.celery_problem("5.6.3", provider_source=source, has=names.__contains__) is None
    assert versions.celery_problem("5.7.0", provider_source=source, has=lambda _: True) is None
