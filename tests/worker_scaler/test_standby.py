"""Two copies as real processes, and sources without a database as a user sets them up."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until

from .fake_airflow_api import FakeAirflowApi, served
from .test_process import free_port, get, settings

if TYPE_CHECKING:
    from worker_scaler.model import Fleet

    from .conftest import AirflowDatabase, LocalEcs

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Start = Callable[..., SidecarProcess]


def with_port(database: AirflowDatabase, policy: Fleet) -> tuple[dict[str, str], int]:
    port = free_port()
    more = {"WORKER_SCALER_HTTP_PORT": str(port), "WORKER_SCALER_HTTP_HOST": "127.0.0.1"}
    return settings(database, policy, **more), port


def desired(local_ecs: LocalEcs, policy: Fleet) -> int:
    answer = local_ecs.client.describe_services(cluster=policy.cluster, services=[policy.service])
    return answer["services"][0]["desiredCount"]


def test_a_second_copy_stands_by_healthy_and_takes_over_from_a_killed_one(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, start_sidecar: Start
) -> None:
    policy = local_ecs.service(0)
    given, port = with_port(airflow_database, policy)
    first = start_sidecar("worker_scaler", settings=given)
    wait_until(lambda: "writing" in first.text(), "the first copy writes", deadline_seconds=60)
    given, port = with_port(airflow_database, policy)
    second = start_sidecar("worker_scaler", settings=given)
    wait_until(lambda: "standing_by" in second.text(), "the second stands by", deadline_seconds=60)

    explained = json.loads(get(port, "/explain"))
    assert explained["role"] == "standby"
    assert "worker-scaler on " in explained["lease"]["holder"]
    assert get(port, "/readyz")  # 503 would raise
    assert "airflow_ecs_worker_scaler_writer 0.0" in get(port, "/metrics")

    first.kill_dash_nine()
    airflow_database.add("queued")

    wait_until(lambda: desired(local_ecs, policy) == 1, "the second scales out", deadline_seconds=60)
    assert json.loads(get(port, "/explain"))["role"] == "writer"
    assert second.terminate() == 0


def without_database(given: dict[str, str], **more: str) -> dict[str, str]:
    return {name: value for name, value in given.items() if "DATABASE" not in name} | more


def test_the_command_source_scales_a_fleet(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run
) -> None:
    policy = local_ecs.service(0)
    queue = {"queued": 3, "running": 0, "restarting": 0, "scheduled": 0, "busy_hosts": {}}
    now = datetime.now(UTC).isoformat()  # noqa: TID251 - the machine's own, as the scaler's is
    document = {"version": 1, "observed_at": now, "complete": True, "queues": {"heavy": queue}}
    command = shlex.join([sys.executable, "-c", "import sys; print(sys.argv[1])", json.dumps(document)])
    given = without_database(
        settings(airflow_database, policy),
        WORKER_SCALER_SOURCE="command",
        WORKER_SCALER_COMMAND=command,
    )

    done = run_sidecar("worker_scaler", "once", settings=given)

    assert done.code == 0, done.out + done.err
    assert desired(local_ecs, policy) == 2


def test_the_rest_source_scales_a_fleet(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run
) -> None:
    policy = local_ecs.service(0)
    with served(FakeAirflowApi()) as api:
        for _ in range(3):
            api.task("queued")
        given = without_database(
            settings(airflow_database, policy),
            WORKER_SCALER_SOURCE="rest",
            WORKER_SCALER_API_URL=api.url,
            WORKER_SCALER_API_USERNAME=api.username,
            WORKER_SCALER_API_PASSWORD=api.password,
        )

        done = run_sidecar("worker_scaler", "once", settings=given)

    assert done.code == 0, done.out + done.err
    assert desired(local_ecs, policy) == 2
    assert api.password not in done.out + done.err
