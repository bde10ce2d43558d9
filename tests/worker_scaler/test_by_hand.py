"""What a person does with the running process: ask it, pause it, let it hold a floor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until
from worker_scaler.explain import rebuild
from worker_scaler.policies.queue import QueuePolicy

from .test_process import free_port, settings

if TYPE_CHECKING:
    from .conftest import AirflowDatabase, LocalEcs

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Start = Callable[..., SidecarProcess]


def desired(ecs: LocalEcs, service: str) -> int:
    (seen,) = ecs.client.describe_services(cluster=ecs.cluster, services=[service])["services"]
    return seen["desiredCount"]


def test_explain_prints_the_last_decision_of_the_running_process_and_what_it_was_taken_from(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, start_sidecar: Start, run_sidecar: Run
) -> None:
    policy = local_ecs.service(0)
    airflow_database.add("queued")
    given = settings(
        airflow_database,
        policy,
        WORKER_SCALER_HTTP_PORT=str(free_port()),
        WORKER_SCALER_HTTP_HOST="127.0.0.1",
    )
    start_sidecar("worker_scaler", settings=given)
    wait_until(lambda: desired(local_ecs, policy.service) == 1, "one worker for one task")

    printed = run_sidecar("worker_scaler", "explain", settings=given)
    replayed = run_sidecar("worker_scaler", "explain", "--replay", settings=given)

    record = json.loads(printed.out)["fleets"][policy.name]
    assert (record["queued_tasks"], record["desired_after"]) == (1, 1)
    case = rebuild(json.loads(replayed.out)[policy.name])
    assert QueuePolicy().decide(case).numbers.desired_after == 1


def test_explain_says_when_nobody_runs_here(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run
) -> None:
    policy = local_ecs.service(0)
    nobody = settings(airflow_database, policy, WORKER_SCALER_HTTP_PORT=str(free_port()))

    done = run_sidecar("worker_scaler", "explain", settings=nobody)
    off = run_sidecar("worker_scaler", "explain", settings=settings(airflow_database, policy))

    assert (done.code, off.code) == (1, 2)
    assert "Is it running here?" in done.err
    assert "Traceback" not in done.err + off.err


def test_a_file_stops_the_scaler_and_its_removal_lets_it_go_on(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, start_sidecar: Start, tmp_path: Path
) -> None:
    policy = local_ecs.service(0)
    switch = tmp_path / "pause"
    switch.write_text("")
    airflow_database.add("queued")
    scaler = start_sidecar(
        "worker_scaler",
        settings=settings(
            airflow_database, policy, WORKER_SCALER_PAUSE_FILE=str(switch), WORKER_SCALER_LOG_LEVEL="debug"
        ),
    )
    wait_until(lambda: scaler.text().count('"why": "paused"') >= 3, "three paused ticks\n" + scaler.text())
    assert desired(local_ecs, policy.service) == 0

    switch.unlink()
    wait_until(lambda: desired(local_ecs, policy.service) == 1, "one worker for one task")


def test_a_floor_and_a_queue_are_steered_side_by_side(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, start_sidecar: Start
) -> None:
    workers, schedulers = local_ecs.service(0), local_ecs.service(1)
    given = settings(airflow_database, workers)
    floor = {
        "name": "scheduler",
        "cluster": "main",
        "service": schedulers.service,
        "policy": "floor",
        "min_workers": 2,
        "max_workers": 4,
    }
    given["WORKER_SCALER_FLEETS"] = json.dumps([*json.loads(given["WORKER_SCALER_FLEETS"]), floor])
    scaler = start_sidecar("worker_scaler", settings=given)
    wait_until(lambda: desired(local_ecs, schedulers.service) == 2, "the floor is repaired\n" + scaler.text())

    local_ecs.client.update_service(cluster="main", service=schedulers.service, desiredCount=4)
    airflow_database.add("queued")
    wait_until(lambda: desired(local_ecs, workers.service) == 1, "one worker for one task")

    assert desired(local_ecs, schedulers.service) == 4
    assert '"why": "floor"' in scaler.text()
