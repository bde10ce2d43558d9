"""Real Airflow 3.3 with every XCom in S3, client-encrypted: its task runner, triggerer, API and database."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_ecs.xcom.reference import MARK, parse

from .local_airflow import AIRFLOW, LocalAirflow
from .workers import PROGRAMS
from .xcoms import XComs

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not AIRFLOW.exists(), reason="Airflow is not installed: make .airflow/.ready"),
]
DOCUMENT = Path(__file__).parents[1] / "contracts" / "examples" / "queue_depth.json"


@pytest.fixture
def airflow(xcoms: XComs, database: str, tmp_path: Path) -> Iterator[LocalAirflow]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "xcom_dag.py").write_bytes((PROGRAMS / "xcom_dag.py").read_bytes())
    settings = {
        **xcoms.cloud.environment(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow_ecs.xcom_s3.S3XComBackend",
        "AIRFLOW_ECS_XCOM_URL": f"s3://{xcoms.bucket}/xcom",
        "AIRFLOW_ECS_XCOM_KMS_KEY_ID": xcoms.key_id,
        "AIRFLOW_ECS_XCOM_CLIENT_ENCRYPTED_DAGS": '["*"]',
    }
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        yield LocalAirflow(home, database, settings, stack)


def test_xcoms_of_mapped_retried_and_deferred_tasks_go_through_s3(
    airflow: LocalAirflow, xcoms: XComs
) -> None:
    airflow.start("triggerer")
    airflow.trigger("xcom_dag", "one")
    assert airflow.finish("one") == "success", airflow.logs()
    assert airflow.lines() == [str([[2, 4, 6], b"\x00airflow", "a report", 2, {"kept": True}])]

    rows = airflow.rows("select task_id, map_index, key, value from xcom")
    assert {(task, index) for task, index, *_ in rows} >= {("double", 0), ("double", 1), ("double", 2)}
    assert all(MARK in value for *_, value in rows)
    for task, index, key, value in rows:
        assert parse(value).context == {
            "dag_id": "xcom_dag", "run_id": "one", "task_id": task, "map_index": str(index), "key": key,
        }  # fmt: skip
        assert xcoms.body(value).startswith(b"AECX")
    versions = xcoms.s3.list_object_versions(Bucket=xcoms.bucket, Prefix="xcom/")
    assert len(versions["Versions"]) == len(rows), "what the first try of a retried task wrote was deleted"

    airflow.stop()
    _sweeping(airflow, xcoms, len(rows))
    _queue_depth(airflow)


def _sweeping(airflow: LocalAirflow, xcoms: XComs, references: int) -> None:
    """Orphans are reported, deleted when told to, and nothing else is."""
    kept = _keys(xcoms)
    for key in ("xcom/v1/gone/r/t/-1/k", "xcom/pins/v1/xcom_dag/gone/p"):
        xcoms.s3.put_object(Bucket=xcoms.bucket, Key=key, Body=b"x")
    xcoms.s3.put_object(Bucket=xcoms.bucket, Key="xcom/pins/v1/xcom_dag/one/p", Body=b"x")
    xcoms.s3.put_object(Bucket=xcoms.bucket, Key="xcom-of-others/k", Body=b"x")
    everything = _keys(xcoms)

    young = _cli(airflow, "xcom", "sweep", "--delete")
    assert f"0 orphans of 0 bytes; the database has {references} references" in young.stdout, young.stderr
    report = _in_two_days(airflow)
    assert report.returncode == 0, report.stdout + report.stderr
    assert "2 orphans of 2 bytes" in report.stdout
    assert _keys(xcoms) == everything
    deleted = _in_two_days(airflow, "--delete")
    assert "2 deleted, 0 not" in deleted.stdout, deleted.stdout + deleted.stderr
    assert _keys(xcoms) == kept | {"xcom/pins/v1/xcom_dag/one/p", "xcom-of-others/k"}


def _keys(xcoms: XComs) -> set[str]:
    return {each["Key"] for each in xcoms.s3.list_objects_v2(Bucket=xcoms.bucket)["Contents"]}


def _in_two_days(airflow: LocalAirflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from airflow_ecs import cli; from airflow_ecs.xcom import sweep; now = sweep.epoch;"
        "sweep.epoch = lambda: now() + 172_800; sys.exit(cli.main(['xcom', 'sweep', *sys.argv[1:]]))"
    )
    return airflow.run(AIRFLOW.with_name("python"), "-c", program, *arguments)


def _queue_depth(airflow: LocalAirflow) -> None:
    """The document is of the shape of the contract's example, and the scaler's own reader takes it."""
    from worker_scaler.sources.document import parse as read_document  # noqa: PLC0415  # who reads it

    empty = json.loads(_cli(airflow, "queue-depth", "--output", "json").stdout)
    assert empty["queues"] == {}
    assert empty["complete"] is True
    _insert_tasks(airflow)
    done = _cli(airflow, "queue-depth", "--output", "json")
    assert done.returncode == 0, done.stderr
    found, example = json.loads(done.stdout), json.loads(DOCUMENT.read_text())
    assert found.keys() == example.keys()
    assert found["queues"]["heavy"].keys() == example["queues"]["default"].keys()
    assert found["queues"]["heavy"] == {
        "queued": 1,
        "running": 1,
        "restarting": 0,
        "scheduled": 1,
        "oldest_queued_age_seconds": pytest.approx(60, abs=30),
        "busy_hosts": {"10.0.4.168": 1},
    }
    reading = read_document(done.stdout)
    assert reading.queues["heavy"].running == 1
    assert abs((reading.taken_at - datetime.now(UTC)).total_seconds()) < 60  # noqa: TID251  # the database's time is real


def _insert_tasks(airflow: LocalAirflow) -> None:
    """Make three finished tasks look as if they waited and ran elsewhere."""
    for state, executor, hostname in (
        ("queued", None, ""),
        ("running", "CeleryExecutor", "10.0.4.168"),
        ("scheduled", None, ""),
        ("running", "airflow.executors.local_executor.LocalExecutor", "here"),
    ):
        airflow.rows(
            "update task_instance set state = %s, executor = %s, hostname = %s, queue = 'heavy',"
            " queued_dttm = now() - interval '1 minute', last_heartbeat_at = now()"
            " where id = (select id from task_instance where state = 'success' limit 1) returning id",
            state,
            executor,
            hostname,
        )


def _cli(airflow: LocalAirflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    return airflow.run(AIRFLOW.with_name("airflow-ecs"), *arguments)
