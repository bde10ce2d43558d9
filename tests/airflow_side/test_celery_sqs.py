"""``airflow_ecs.celery_sqs`` in real Airflow 3.3: both of the provider's paths, and refusals at import."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .workers import AIRFLOW_PYTHON

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]

QUEUES = {
    "default": "http://127.0.0.1:1/123456789012/default",
    "heavy": "http://127.0.0.1:1/123456789012/heavy",
}
BOTH_PATHS = """
import json
from airflow.providers.celery.executors.celery_executor_utils import app, _get_celery_app_for_workload
from celery import signals
names = ["broker_url", "broker_transport_options", "worker_consumer", "worker_enable_remote_control",
         "task_acks_late",
         "worker_prefetch_multiplier", "task_default_queue", "worker_concurrency", "result_expires"]
publishing = _get_celery_app_for_workload(None)
print("FOUND" + json.dumps([{name: each.conf[name] for name in names} for each in (app, publishing)]))
print("WATCHED", [uid for (uid, _), _ in signals.after_task_publish.receivers])
"""


def airflow(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    made = {
        "PATH": os.defpath,
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AWS_REGION": "eu-west-1",
        "AIRFLOW_ECS_SQS_QUEUES": json.dumps(QUEUES),
        "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "airflow_ecs.celery_sqs.CELERY_CONFIG",
        **environment,
    }
    return subprocess.run(
        [AIRFLOW_PYTHON, "-c", code],
        env=made,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=home,
    )


def test_worker_and_scheduler_get_the_same_and_the_users_own_settings_stay(tmp_path: Path) -> None:
    done = airflow(
        BOTH_PATHS,
        tmp_path,
        AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__WAIT_TIME_SECONDS="5",
        AIRFLOW__CELERY__EXTRA_CELERY_CONFIG='{"result_expires": 60}',
        AIRFLOW__CELERY__WORKER_CONCURRENCY="3",
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND")), None)
    assert line is not None, done.stderr
    worker, scheduler = json.loads(line.removeprefix("FOUND"))
    assert worker == scheduler
    assert worker["broker_url"] == "sqs://"
    options = worker["broker_transport_options"]
    assert options["predefined_queues"] == {name: {"url": url} for name, url in QUEUES.items()}
    assert (options["visibility_timeout"], options["polling_interval"], options["wait_time_seconds"]) == (
        43_200,
        0,
        5,
    )
    assert worker["worker_consumer"] == "airflow_ecs.worker_agent.consumer:AgentConsumer"
    assert (worker["worker_concurrency"], worker["result_expires"]) == (3, 60)
    assert (worker["worker_enable_remote_control"], worker["task_acks_late"]) == (False, True)
    assert "airflow_ecs.celery_publish" in done.stdout


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400"}, "up to 43200"),
        ({"AIRFLOW__OPERATORS__DEFAULT_QUEUE": "other"}, "default_queue is 'other'"),
        ({"AIRFLOW__CELERY__TASK_ACKS_LATE": "False"}, "task_acks_late is off"),
        ({"AIRFLOW_ECS_SQS_QUEUES": ""}, "AIRFLOW_ECS_SQS_QUEUES is no JSON"),
        ({"AWS_ENDPOINT_URL": "http://emulator:4566"}, "plain HTTP to emulator"),
        ({"AIRFLOW_ECS_WORKER_AGENT": "maybe"}, "on or off"),
    ],
)
def test_what_loses_tasks_is_refused_at_import(
    environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    done = airflow("import airflow_ecs.celery_sqs", tmp_path, **environment)
    assert done.returncode == 1
    assert says in done.stderr


def test_a_missing_pycurl_is_refused_at_import(tmp_path: Path) -> None:
    hide = "import importlib.util as u\nfind = u.find_spec\n"
    hide += "u.find_spec = lambda name, *a: None if name == 'pycurl' else find(name, *a)\n"
    done = airflow(f"{hide}import airflow_ecs.celery_sqs", tmp_path)
    assert done.returncode == 1
    assert "pycurl is not installed" in done.stderr


def test_the_agent_is_switched_off_by_one_variable(tmp_path: Path) -> None:
    code = "from airflow_ecs.celery_sqs import CELERY_CONFIG; print('worker_consumer' in CELERY_CONFIG)"
    done = airflow(code, tmp_path, AIRFLOW_ECS_WORKER_AGENT="off")
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr


def test_each_publish_is_timed_once_for_airflows_stats_with_its_queue(tmp_path: Path) -> None:
    code = """
from unittest import mock
from celery import Celery
from airflow_ecs import publish_latency
publish_latency.watch()
publish_latency.watch()
with mock.patch.object(publish_latency._stats(), "timing", autospec=True) as timing:
    Celery(broker="memory://").send_task("work", queue="heavy")
(name, milliseconds), options = timing.call_args
print(timing.call_count, name, milliseconds > 0, options)
"""
    done = airflow(code, tmp_path)
    assert done.stdout.splitlines()[-1:] == [
        "1 airflow_ecs.celery_publish True {'tags': {'queue': 'heavy'}}"
    ], done.stderr
