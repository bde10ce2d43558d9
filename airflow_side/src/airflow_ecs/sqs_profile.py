"""What is right for Celery on SQS, and what is refused because it loses or doubles tasks. No Airflow, no I/O.

The values and their reasons are in the README. https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/sqs.html
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

QUEUES_VARIABLE = "AIRFLOW_ECS_SQS_QUEUES"
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
MAX_VISIBILITY_SECONDS = 43_200
WAIT_SECONDS = 20  # the longest poll SQS offers: the cheapest, and the fastest to bring a message
AGENT_CONSUMER = "airflow_ecs.worker_agent.consumer:AgentConsumer"
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_REGION_IN_HOST = re.compile(
    r"(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws)$"
)


class SqsProfileError(ValueError):
    """The configuration would lose or double tasks, or cannot work; the text says what to do."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("airflow_ecs.celery_sqs refuses this configuration:\n- " + "\n- ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where Celery's queues are.

    Attributes:
        queues: name of the Airflow queue: URL of its SQS queue.
        region: the queues' AWS region.
        is_secure: False only for an emulator on this machine.
    """

    queues: Mapping[str, str]
    region: str
    is_secure: bool


def read(environment: Mapping[str, str]) -> Profile:
    """Read the profile from the one variable that names the queues, and the AWS SDK's own.

    Raises:
        SqsProfileError: with all that is wrong, not only the first of it.
    """
    text = environment.get(QUEUES_VARIABLE, "")
    example = f'{QUEUES_VARIABLE}={{"default": "https://sqs.eu-west-1.amazonaws.com/123456789012/airflow"}}'
    try:
        queues = json.loads(text)
    except ValueError as err:
        raise SqsProfileError([f"{QUEUES_VARIABLE} is no JSON ({err}); for example {example}"]) from err
    if not isinstance(queues, dict) or not queues or not all(isinstance(url, str) for url in queues.values()):
        raise SqsProfileError(
            [f"{QUEUES_VARIABLE} is a JSON object of queue names and URLs; for example {example}"]
        )
    problems = [problem for name, url in queues.items() for problem in _queue_problems(name, url)]
    endpoints = {
        name: environment[name]
        for name in ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")
        if environment.get(name)
    }
    problems += [problem for name, url in endpoints.items() if (problem := _plain_http(name, url))]
    regions = {
        found[1] for url in queues.values() if (found := _REGION_IN_HOST.search(urlsplit(url).hostname or ""))
    }
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
    if len(regions) > 1:
        problems.append(
            f"the queues are in several regions ({', '.join(sorted(regions))}); Celery signs for one"
        )
    if not regions and not region:
        problems.append("no region: the queues' URLs do not tell it, so set AWS_REGION")
    if problems:
        raise SqsProfileError(problems)
    endpoint = next(iter(endpoints.values()), "")
    return Profile(
        queues=queues,
        region=next(iter(regions), region),
        is_secure=not (endpoint or next(iter(queues.values()))).startswith("http:"),
    )


def celery_settings(profile: Profile, *, with_agent: bool) -> dict[str, Any]:
    """Return the Celery settings of a profile, to be merged over the others.

    Args:
        profile: where the queues are.
        with_agent: run ``airflow_ecs.worker_agent`` in the worker.
    """
    settings: dict[str, Any] = {
        "broker_url": "sqs://",  # credentials and endpoint from the SDK's own chain: the task role
        "broker_transport_options": {
            "region": profile.region,
            # never ListQueues or CreateQueue: no such rights, no stray queues, an unknown queue fails loudly
            "predefined_queues": {name: {"url": url} for name, url in profile.queues.items()},
            "visibility_timeout": MAX_VISIBILITY_SECONDS,
            "wait_time_seconds": WAIT_SECONDS,
            "polling_interval": 0,
            "is_secure": profile.is_secure,
            "fetch_message_attributes": {
                "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp"]
            },
            # the event loop itself waits for these calls; botocore's own 60 s and 5 attempts would stop it
            "client-config": {
                "connect_timeout": 3,
                "read_timeout": 10,
                "retries": {"mode": "standard", "total_max_attempts": 3},
            },
        },
        "broker_connection_retry_on_startup": True,
        "task_acks_late": True,  # a message is deleted when its task is over, not when it begins
        "worker_prefetch_multiplier": 1,  # nothing is hoarded
        "worker_enable_remote_control": False,  # SQS has none; asking for it makes stray queues
    }
    if with_agent:
        settings["worker_consumer"] = AGENT_CONSUMER
    return settings


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``above`` over ``below``, dictionaries member by member; neither is changed."""
    result = {**below}
    for name, value in above.items():
        beneath = result.get(name)
        result[name] = (
            merged(beneath, value) if isinstance(beneath, dict) and isinstance(value, dict) else value
        )
    return result


def refuse(settings: Mapping[str, Any], *, default_queue: str) -> None:
    """Check the settings as Celery will have them.

    Args:
        settings: the merged Celery settings.
        default_queue: where tasks without a queue go, ``[operators] default_queue``.

    Raises:
        SqsProfileError: with all that is wrong.
    """
    options = settings["broker_transport_options"]
    problems: list[str] = []
    queues = options.get("predefined_queues", {})
    if default_queue not in queues:
        problems.append(
            f"[operators] default_queue is {default_queue!r}, which is none of {', '.join(sorted(queues))}:"
            f" add it to {QUEUES_VARIABLE}, or every task without a queue of its own fails to be published"
        )
    try:
        visibility = float(options.get("visibility_timeout", MAX_VISIBILITY_SECONDS))
    except (TypeError, ValueError):
        visibility = float("nan")
    if not 0 < visibility <= MAX_VISIBILITY_SECONDS:
        problems.append(
            f"visibility_timeout is {options.get('visibility_timeout')!r}; SQS allows up to"
            f" {MAX_VISIBILITY_SECONDS} s (Airflow's own default, 86400, cannot be had). Remove it from"
            " [celery_broker_transport_options], and set the queue's own attribute: that one rules"
        )
    wait = options.get("wait_time_seconds", WAIT_SECONDS)
    if not isinstance(wait, int) or not 0 < wait <= WAIT_SECONDS:
        problems.append(
            f"wait_time_seconds is {wait!r}; SQS holds a poll open for 1 to {WAIT_SECONDS} seconds"
        )
    if settings.get("task_acks_late") is not True:
        problems.append(
            "[celery] task_acks_late is off: a killed worker's tasks would be gone. Remove the setting"
        )
    broker = urlsplit(str(settings.get("broker_url", "")))
    if broker.scheme != "sqs":
        problems.append(f"[celery] broker_url is {broker.scheme}://…, not sqs://. Remove the setting")
    elif broker.hostname and not options.get("is_secure") and not _is_loopback(broker.hostname):
        problems.append(
            f"[celery] broker_url names the host {broker.hostname}, which kombu asks over HTTP, with"
            " the tasks' tokens readable on the way. Use sqs:// alone"
        )
    if problems:
        raise SqsProfileError(problems)


def _queue_problems(name: str, url: str) -> list[str]:
    problems = []
    if name.endswith(".fifo") or urlsplit(url).path.endswith(".fifo"):
        problems.append(
            f"queue {name!r} is a FIFO queue, of which Celery has one message in flight at a time"
        )
    elif not _QUEUE_NAME.fullmatch(name):
        problems.append(
            f"queue {name!r}: kombu would look for it under another name. Use letters, digits, - and _"
        )
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).path.strip("/"):
        problems.append(f"queue {name!r}: {url!r} is no URL of a queue; copy it from SQS's GetQueueUrl")
    elif problem := _plain_http(f"queue {name!r}", url):
        problems.append(problem)
    return problems


def _plain_http(what: str, url: str) -> str | None:
    parts = urlsplit(url)
    if parts.scheme != "http" or _is_loopback(parts.hostname or ""):
        return None
    return (
        f"{what} is plain HTTP to {parts.hostname}: tasks' tokens would be readable on the way. Use https://"
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
