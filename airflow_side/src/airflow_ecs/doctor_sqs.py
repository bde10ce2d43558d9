"""``airflow-ecs doctor sqs``: does the real SQS hold what the profile promises?

Runs in the Airflow image with the environment of the components. It changes nothing but for one probe
message, which it sends, receives and deletes. Where workers are running they may get it first, and put it
away as unknown: there, ``--probe-queue`` names a queue of its own.
"""

from __future__ import annotations

import argparse
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_ecs.queue_findings import Finding, of_dags, of_queue
from airflow_ecs.sqs_profile import SqsProfileError

PROBE_WAIT_SECONDS = 5
_PROBE_RECEIVES = 4
_SIGNS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}
# Values of the reference that are Airflow's own settings, read before any module of ours.
_AT_LEAST = (
    (
        "celery",
        "operation_timeout",
        5.0,
        "a first publish with credentials and TLS takes longer, and the task fails",
    ),
    (
        "scheduler",
        "task_queued_timeout",
        1_800.0,
        "it is the life of a message's token too: tasks fail when no worker is there in time",
    ),
)
_MAX_SYNC_PARALLELISM = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--probe-queue", metavar="URL", help="send, receive and delete a message on this queue"
    )
    parser.add_argument("--no-probe", action="store_true", help="send no message at all")


def run(arguments: argparse.Namespace) -> int:
    """Print one line per finding; return 1 when one is an error, else 0."""
    try:
        from airflow_ecs.celery_sqs import CELERY_CONFIG  # noqa: PLC0415  # imports Airflow, and may refuse
    except SqsProfileError as err:
        return tell([Finding("error", "configuration", problem) for problem in err.problems])
    import boto3  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415  # heavy; the image has it
    from botocore.config import Config  # noqa: PLC0415  # the same

    options = CELERY_CONFIG["broker_transport_options"]
    queues = {name: queue["url"] for name, queue in options["predefined_queues"].items()}
    client = boto3.client("sqs", region_name=options["region"], config=Config(**options["client-config"]))
    findings = [*of_airflow(), *of_database(queues)]
    for name, url in queues.items():
        findings += look_at(client, name, url)
    if not arguments.no_probe:
        for name, url in (
            {"probe": arguments.probe_queue}.items() if arguments.probe_queue else queues.items()
        ):
            findings.append(probe(client, name, url))
    return tell(findings)


def look_at(client: Any, name: str, url: str) -> list[Finding]:
    """Read a queue's attributes and judge them; what cannot be read is an error with its reason."""
    try:
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    except Exception as err:  # noqa: BLE001  # botocore's errors have no common base but this; it is told
        return [Finding("error", f"queue {name}", f"{url} cannot be read: {_reason(err)}")]
    return of_queue(name, answer["Attributes"])


def probe(client: Any, name: str, url: str) -> Finding:
    """Send a message, receive it, delete it: what a scheduler and a worker need to be allowed."""
    subject = f"queue {name}"
    token = uuid.uuid4().hex
    step = "sqs:SendMessage (and kms:GenerateDataKey)"
    try:
        client.send_message(QueueUrl=url, MessageBody=json.dumps({"airflow-ecs-doctor": token}))
        step = "sqs:ReceiveMessage (and kms:Decrypt)"
        for _ in range(_PROBE_RECEIVES):
            found = client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=PROBE_WAIT_SECONDS, VisibilityTimeout=30
            ).get("Messages", [])
            step = "sqs:ChangeMessageVisibility and sqs:DeleteMessage"
            ours = [message for message in found if token in message["Body"]]
            for message in found:
                if message not in ours:
                    client.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                    )
            if ours:
                client.delete_message(QueueUrl=url, ReceiptHandle=ours[0]["ReceiptHandle"])
                return Finding("ok", subject, "a message was sent, received and deleted")
    except Exception as err:  # noqa: BLE001  # as above
        return Finding("error", subject, f"the probe failed at {step}: {_reason(err)}")
    return Finding(
        "warning",
        subject,
        "the probe was not seen again: a worker took it first, or the queue is long (--probe-queue)",
    )


def of_airflow() -> list[Finding]:
    """Judge the settings of Airflow that a module of ours cannot set."""
    from airflow.configuration import (  # type: ignore[import-not-found]  # noqa: PLC0415  # of the image
        conf,
    )

    found = []
    for section, option, least, why in _AT_LEAST:
        value = conf.getfloat(section, option)
        if value < least:
            found.append(
                Finding("warning", f"[{section}] {option}", f"is {value:g}: {why}. Set {least:g} or more")
            )
    parallelism = conf.getint("celery", "sync_parallelism")
    if parallelism != _MAX_SYNC_PARALLELISM:
        found.append(
            Finding(
                "warning",
                "[celery] sync_parallelism",
                f"is {parallelism}: every batch of tasks forks processes that build their own SQS"
                " clients. Set 1",
            )
        )
    return found or [Finding("ok", "[celery], [scheduler]", "timeouts and parallelism suit SQS")]


def of_database(known: Iterable[str]) -> list[Finding]:
    """Compare the queues of all current DAGs, and of the tasks under way, with those Celery knows."""
    from airflow.models.dag import DagModel  # type: ignore[import-not-found]  # noqa: PLC0415  # of the image
    from airflow.models.serialized_dag import (  # type: ignore[import-not-found]  # noqa: PLC0415  # of the image
        SerializedDagModel,
    )
    from airflow.utils.session import (  # type: ignore[import-not-found]  # noqa: PLC0415  # of the image
        create_session,
    )
    from sqlalchemy import select, text  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # of the image

    try:
        with create_session() as session:
            current = session.scalars(select(DagModel.dag_id).where(DagModel.is_stale.is_(False))).all()
            dags = SerializedDagModel.get_latest_serialized_dags(dag_ids=current, session=session)
            used = {
                *session.scalars(text(_UNDER_WAY)),
                *(queue for dag in dags for queue in queues_of(dag.data)),
            }
    except Exception as err:  # noqa: BLE001  # whatever the database says is told
        return [Finding("error", "queues of DAGs", f"the database cannot be asked: {type(err).__name__}")]
    return of_dags(used, known)


_UNDER_WAY = (
    "select distinct queue from task_instance"
    " where state in ('scheduled', 'queued', 'running', 'restarting', 'up_for_retry') and queue is not null"
    " and (executor is null or executor like '%Celery%')"
)


def queues_of(serialized: Any) -> set[str]:
    """Return the queues that a serialized DAG names; a task that names none is on the default queue."""
    data: Mapping[str, Any] = json.loads(serialized) if isinstance(serialized, str) else serialized
    tasks = data.get("dag", {}).get("tasks", [])
    variables = [task.get("__var", task) for task in tasks]
    named = [each.get("queue") or each.get("partial_kwargs", {}).get("queue") for each in variables]
    return {str(queue) for queue in named if queue}


def _reason(err: Exception) -> str:
    return f"{type(err).__name__}: {err}"


def tell(findings: list[Finding]) -> int:
    """Print one line per finding; return 1 when one is an error, else 0."""
    for finding in findings:
        print(f"{_SIGNS[finding.level]} {finding.subject}: {finding.text}")  # noqa: T201  # this is what it is for
    return 1 if any(finding.level == "error" for finding in findings) else 0
