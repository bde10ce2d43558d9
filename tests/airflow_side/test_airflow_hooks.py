"""The exact places of the supported Airflow that ``airflow_ecs`` leans on; when one fails, read it again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

AIRFLOW_PYTHON = Path(__file__).parents[2] / ".airflow" / "bin" / "python"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]

# The scheduler and the worker's supervisor look the callable up separately: both must find ours.
ASK_BOTH = """
from airflow.utils.net import get_hostname
from airflow.sdk.api.client import get_hostname as get_hostname_of_the_supervisor

print(get_hostname(), get_hostname_of_the_supervisor())
"""


def test_airflow_calls_our_hostname_callable_on_both_sides(tmp_path: Path) -> None:
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow_ecs.hostname.get_task_ip",
    }
    done = subprocess.run(
        [AIRFLOW_PYTHON, "-c", ASK_BOTH],
        env=environment, check=True, capture_output=True, text=True, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    scheduler_side, supervisor_side = done.stdout.split()[-2:]
    assert scheduler_side == supervisor_side
    assert "ECS_CONTAINER_METADATA_URI_V4 is not set" in done.stdout + done.stderr
