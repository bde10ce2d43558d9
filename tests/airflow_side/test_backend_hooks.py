"""Each place of Airflow that the XCom backend, the bundle, the secrets backend and the engines lean on."""

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
# What users name in airflow.cfg is imported by every forked task: none of it may bring the SDK of AWS.
LIGHT = """
import sys
import airflow.sdk.bases.xcom, airflow.dag_processing.bundles.base, airflow.secrets.base_secrets
heavy = {"boto3", "botocore", "cryptography.hazmat.primitives.ciphers.aead"}
before = heavy & set(sys.modules)
import airflow_ecs.xcom_s3, airflow_ecs.bundles, airflow_ecs.parameters, airflow_ecs.database_iam
print("FOUND", sorted((heavy & set(sys.modules)) - before))
"""


def run(tmp_path: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [AIRFLOW_PYTHON, *arguments],
        env={"PATH": os.defpath, "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path)},
        check=True, capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    return line.removeprefix("FOUND").strip()


def test_airflow_is_as_it_was_read(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, PROGRAMS / "airflow_hooks.py"))
    assert len(found) == 17
    changed = [name for name, holds in found.items() if not holds]
    assert not changed, f"read this again in the installed Airflow, then what leans on it: {changed}"


def test_the_names_of_airflow_cfg_bring_nothing_heavy(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", LIGHT) == "[]"
