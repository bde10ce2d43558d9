"""Real Airflow 3.3 and the real dags-agent: a run ends on the code it began with, whatever is published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from local_cloud.testing import LocalCloud
from sidecar.testing.waiting import wait_until

from .local_airflow import AIRFLOW, LocalAirflow
from .workers import PROGRAMS

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not AIRFLOW.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]


class Deployments:
    """A bucket of DAGs, and the agent that publishes them: no release is kept without a reason."""

    def __init__(self, cloud: LocalCloud, target: Path) -> None:
        self.target = target
        self.bucket = f"dags-{uuid.uuid4().hex[:12]}"
        self._environment = {
            **cloud.environment(),
            "PATH": os.defpath,
            "DAGS_AGENT_SOURCE": f"s3://{self.bucket}/dags/",
            "DAGS_AGENT_TARGET": str(target),
            "DAGS_AGENT_KEEP_RELEASES": "1",
            "DAGS_AGENT_KEEP_HOURS": "0",
            "DAGS_AGENT_SETTLE_SECONDS": "0",
            "DAGS_AGENT_HTTP_PORT": "0",
        }
        self._s3 = boto3.client(
            "s3",
            endpoint_url=cloud.url,
            region_name="us-east-1",
            aws_access_key_id="t",
            aws_secret_access_key="t",
        )
        self._s3.create_bucket(Bucket=self.bucket)

    def publish(self, name: str) -> str:
        """Deploy code that calls itself so; return the release's id."""
        files = {
            "release_dag.py": (PROGRAMS / "release_dag.py").read_bytes(),
            "helpers/__init__.py": b"",
            "helpers/release.py": f"NAME = {name!r}\n".encode(),
            "helpers/late.py": f"NAME = {name!r}\n".encode(),
        }
        for path, body in files.items():
            self._s3.put_object(Bucket=self.bucket, Key=f"dags/{path}", Body=body)
        agent = Path(sys.executable).with_name("dags-agent")
        done = subprocess.run(
            [agent, "once"], env=self._environment, check=False, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return (self.target / "current").readlink().name

    def releases(self) -> set[str]:
        return {path.name for path in (self.target / "releases").iterdir() if path.is_dir()}

    def close(self) -> None:
        self._s3.close()


@pytest.fixture
def deployments(running_cloud: LocalCloud, tmp_path: Path) -> Iterator[Deployments]:
    running_cloud.clear_faults()
    made = Deployments(running_cloud, tmp_path / "efs")
    yield made
    made.close()


@pytest.fixture
def airflow(deployments: Deployments, database: str, tmp_path: Path) -> Iterator[LocalAirflow]:
    bundle = {
        "name": "dags",
        "classpath": "airflow_ecs.bundles.EfsReleaseBundle",
        "kwargs": {"target": str(deployments.target), "refresh_interval": 1},
    }
    settings = {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle])}
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        yield LocalAirflow(home, database, settings, stack)


def test_a_run_that_began_on_a_release_ends_on_its_code_while_others_are_published(
    airflow: LocalAirflow, deployments: Deployments
) -> None:
    first = deployments.publish("A")
    airflow.start()
    airflow.trigger("release_dag", "on_a")
    wait_until(lambda: airflow.lines() == ["first A"], "the first task", deadline_seconds=180)

    second = deployments.publish("B")
    wait_until(
        lambda: airflow.rows("select 1 from dag_version where bundle_version = %s", second),
        "Airflow to know B",
        deadline_seconds=180,
    )
    third = deployments.publish("C")
    assert first in deployments.releases(), "an unfinished run is on it"

    (airflow.home / "go").touch()
    assert airflow.finish("on_a") == "success", airflow.logs()
    assert airflow.lines() == ["first A", "second A A A"]

    wait_until(
        lambda: airflow.rows("select 1 from dag_version where bundle_version = %s", third),
        "Airflow to know C",
        deadline_seconds=180,
    )
    airflow.trigger("release_dag", "on_c")
    assert airflow.finish("on_c") == "success", airflow.logs()
    assert airflow.lines()[2:] == ["first C", "second C C C"]

    wait_until(
        lambda: not list((deployments.target / ".dags-agent/leases").glob(f"{first}/*.json")),
        "the lease of the finished run to be taken back",
        deadline_seconds=60,
    )
    deployments.publish("D")
    assert first not in deployments.releases(), "nobody needs it any more"
