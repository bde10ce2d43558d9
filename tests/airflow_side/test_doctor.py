"""The doctor's judgement of Airflow's settings, of the execution API and of the XCom store."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_ecs import doctor
from airflow_ecs.airflow_findings import AirflowFacts, fingerprint_text, of_airflow
from airflow_ecs.queue_findings import Finding

from .workers import AIRFLOW_PYTHON
from .xcoms import XComs

RIGHT = AirflowFacts(
    jwt_secret="j" * 64,
    secret_key="s" * 32,
    fernet_key="f" * 44,
    is_set_by_user={"api_auth.jwt_secret": True, "api.secret_key": True, "core.fernet_key": True},
    execution_api_url="http://api.internal:8080/execution/",
    on_ecs=True,
    refresh_interval_seconds=10,
    versioned_bundles=True,
    task_queued_timeout_seconds=3_600,
    max_failed_heartbeats=20,
    min_heartbeat_interval_seconds=5,
    hostname_callable="airflow_ecs.hostname.get_task_ip",
    dumb_init_setsid="0",
)


def judged(**changed: Any) -> list[Finding]:
    found = of_airflow(dataclasses.replace(RIGHT, **changed), cold_start_seconds=300)
    return [finding for finding in found if finding.level != "ok"]


def test_right_settings_are_all_ok_and_no_secret_is_told() -> None:
    found = of_airflow(RIGHT, cold_start_seconds=300)
    assert {finding.level for finding in found} == {"ok"}
    told = " ".join(finding.text for finding in found)
    assert not any(secret in told for secret in (RIGHT.jwt_secret, RIGHT.secret_key, RIGHT.fernet_key))


JWT, URL = "[api_auth] jwt_secret", "[core] execution_api_server_url"
REFRESH, QUEUED = "[dag_processor] refresh_interval", "[scheduler] task_queued_timeout"
OF_A_CONTAINER = {**RIGHT.is_set_by_user, "api_auth.jwt_secret": False}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"jwt_secret": ""}, (JWT, "error", "Signature verification failed")),
        ({"is_set_by_user": OF_A_CONTAINER}, (JWT, "error", "Secrets Manager")),
        ({"jwt_secret": "short"}, (JWT, "warning", "64 bytes")),
        ({"fernet_key": ""}, ("[core] fernet_key", "error", "cannot be read elsewhere")),
        ({"secret_key": ""}, ("[api] secret_key", "error", "logs cannot be fetched")),
        ({"execution_api_url": ""}, (URL, "error", "always-on")),
        ({"execution_api_url": "http://localhost:8080/execution/"}, (URL, "error", "always-on")),
        ({"execution_api_url": "http://api:8080/"}, (URL, "error", "ends in /execution/")),
        ({"refresh_interval_seconds": 300}, (REFRESH, "warning", "one readlink")),
        (
            {"refresh_interval_seconds": 300, "versioned_bundles": False},
            (REFRESH, "warning", "EfsReleaseBundle"),
        ),
        ({"task_queued_timeout_seconds": 300}, (QUEUED, "error", "tasks fail before")),
        ({"task_queued_timeout_seconds": 600}, (QUEUED, "warning", "backlog")),
        ({"max_failed_heartbeats": 3}, ("[workers] max_failed_heartbeats", "warning", "about 15 s")),
        ({"dumb_init_setsid": None}, ("DUMB_INIT_SETSID", "warning", "Set 0 on workers")),
        (
            {"hostname_callable": "airflow.utils.net.getfqdn"},
            ("[core] hostname_callable", "warning", "releases none"),
        ),
    ],
)
def test_each_setting_that_hurts_is_told_with_the_remedy(
    changed: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    (found,) = judged(**changed)
    assert (found.subject, found.level) == expected[:2]
    assert expected[2] in found.text


def test_fingerprints_are_the_same_for_the_same_secret_only() -> None:
    assert fingerprint_text("a") == fingerprint_text("a") != fingerprint_text("b")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/execution/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        pass


@pytest.fixture
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_execution_api_is_asked_how_it_is(api: str) -> None:
    assert [found.level for found in doctor.of_execution_api(f"{api}/execution/")] == ["ok"]
    for wrong in (f"{api}/", "http://127.0.0.1:9/execution/", "file:///etc"):
        assert [found.level for found in doctor.of_execution_api(wrong)] == ["error"]


@pytest.mark.integration
def test_the_xcom_store_is_tried_as_a_task_uses_it_and_nothing_stays(xcoms: XComs) -> None:
    assert doctor.of_xcom_probe(xcoms.store()).level == "ok"
    assert "Versions" not in xcoms.s3.list_object_versions(Bucket=xcoms.bucket)
    xcoms.cloud.add_faults({"service": "s3", "kind": "error", "code": "AccessDenied", "status": 403})
    refused = doctor.of_xcom_probe(xcoms.store())
    assert (refused.level, "s3:PutObject" in refused.text) == ("error", True)


@pytest.mark.integration
def test_a_bucket_without_versions_is_told(xcoms: XComs) -> None:
    assert doctor.of_xcom_bucket(xcoms.s3, xcoms.bucket).level == "ok"
    assert doctor.of_xcom_bucket(xcoms.s3, xcoms.new_bucket(versioned=False)).level == "warning"


@pytest.mark.integration
@pytest.mark.skipif(not AIRFLOW_PYTHON.exists(), reason="Airflow is not installed: make .airflow/.ready")
def test_the_command_reads_the_settings_in_force_and_ends_with_1_for_an_error(
    xcoms: XComs, tmp_path: Path
) -> None:
    environment = {
        **xcoms.cloud.environment(),
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-that-is-told-to-nobody",
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow_ecs.xcom_s3.S3XComBackend",
        "AIRFLOW_ECS_XCOM_URL": f"s3://{xcoms.bucket}/xcom",
        "AIRFLOW_ECS_XCOM_KMS_KEY_ID": xcoms.key_id,
    }
    done = subprocess.run(
        [AIRFLOW_PYTHON.with_name("airflow-ecs"), "doctor"],
        env=environment, check=False, capture_output=True, text=True, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "ERROR   [core] fernet_key" in done.stdout
    assert "WARNING [api_auth] jwt_secret" in done.stdout
    assert "ok      XCom store" in done.stdout
    assert "told-to-nobody" not in done.stdout + done.stderr
