"""Each place of Celery and kombu that the worker agent leans on, as it was read in 5.6.3 and 5.7.0."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from .workers import AIRFLOW_PYTHON, PROGRAMS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]

PROVIDER = """
import inspect, json
from airflow.providers.celery.executors import celery_executor_utils as utils, default_celery
print("FOUND" + json.dumps({
    "the worker takes celery_config_options whole": 'conf.getimport("celery", "celery_config_options")'
        in inspect.getsource(utils.get_celery_configuration),
    "the scheduler lays celery_config_options over the default": "config.update(user_config)"
        in inspect.getsource(utils.create_celery_app),
    "the default reads extra_celery_config": "extra_celery_config" in inspect.getsource(default_celery),
    "the default is DEFAULT_CELERY_CONFIG": isinstance(default_celery.DEFAULT_CELERY_CONFIG, dict),
    "a redelivered running task is ignored": "TaskAlreadyRunningError" in
        inspect.getsource(utils.execute_workload),
}))
"""


def test_celery_and_kombu_are_as_they_were_read() -> None:
    done = subprocess.run(
        [AIRFLOW_PYTHON, PROGRAMS / "hooks.py"],
        env={"PATH": os.defpath}, check=True, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 21
    changed = [name for name, holds in found.items() if not holds]
    assert not changed, (
        f"read this again in the installed celery and kombu, then airflow_ecs.worker_agent: {changed}"
    )


def test_the_celery_provider_is_as_it_was_read(tmp_path: Path) -> None:
    done = subprocess.run(
        [AIRFLOW_PYTHON, "-c", PROVIDER],
        env={"PATH": os.defpath, "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path)},
        check=True, capture_output=True, text=True, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    changed = [name for name, holds in json.loads(line.removeprefix("FOUND")).items() if not holds]
    assert not changed, f"read this again in the installed provider, then airflow_ecs.celery_sqs: {changed}"
