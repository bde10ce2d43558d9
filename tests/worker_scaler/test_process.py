"""The scaler as a real process, over real boto3 and a real PostgreSQL."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest

from sidecar.testing.plugin import Finished, SidecarProcess
from sidecar.testing.waiting import wait_until

if TYPE_CHECKING:
    from worker_scaler.model import Fleet

    from .conftest import AirflowDatabase, LocalEcs

pytestmark = pytest.mark.integration

Run = Callable[..., Finished]
Start = Callable[..., SidecarProcess]


def settings(database: AirflowDatabase, policy: Fleet, **more: str) -> dict[str, str]:
    given = {
        "name": policy.name,
        "cluster": policy.cluster,
        "service": policy.service,
        "queues": list(policy.queues),
        "tasks_per_worker": 2,
        "max_workers": 10,
        "scale_in_window_seconds": 0,
    }
    return {
        "WORKER_SCALER_DATABASE_URL": database.url,
        "WORKER_SCALER_FLEETS": json.dumps([given]),
        "WORKER_SCALER_INTERVAL_SECONDS": "0.2",
        "WORKER_SCALER_MINIMUM_WORKER_AGE_SECONDS": "0",
        "WORKER_SCALER_HTTP_PORT": "0",
        **more,
    }


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_refused(done: Finished, *said: str) -> None:
    """Exit code 2, and one line that says it, without a traceback."""
    output = done.out + done.err
    assert done.code == 2, output
    assert "Traceback" not in output
    told = [line for line in output.splitlines() if all(word in line for word in said)]
    assert len(told) == 1, output


def test_from_a_queue_to_workers_and_back_to_none_without_stopping_a_task(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, start_sidecar: Start
) -> None:
    policy = local_ecs.service(0)
    port = free_port()
    for _ in range(5):
        airflow_database.add("queued")
    scaler = start_sidecar(
        "worker_scaler",
        settings=settings(
            airflow_database, policy, WORKER_SCALER_HTTP_PORT=str(port), WORKER_SCALER_HTTP_HOST="127.0.0.1"
        ),
    )

    def running() -> list[Any]:
        arns = local_ecs.client.list_tasks(cluster=policy.cluster, serviceName=policy.service)["taskArns"]
        if not arns:
            return []
        tasks = local_ecs.client.describe_tasks(cluster=policy.cluster, tasks=arns)["tasks"]
        return [task for task in tasks if task["lastStatus"] == "RUNNING"]

    def desired() -> int:
        (service,) = local_ecs.client.describe_services(cluster=policy.cluster, services=[policy.service])[
            "services"
        ]
        return service["desiredCount"]

    wait_until(lambda: len(running()) == 3, "three workers for five tasks\n" + scaler.text())
    assert desired() == 3

    # One worker takes a long task, the others' tasks are done: only the busy one may stay.
    busy = running()[1]
    (address,) = [
        detail["value"]
        for detail in busy["attachments"][0]["details"]
        if detail["name"] == "privateIPv4Address"
    ]
    airflow_database.run("UPDATE task_instance SET state = 'success'")
    airflow_database.add("running", hostname=f"ip-{address.replace('.', '-')}.ec2.internal")
    wait_until(lambda: len(running()) == 1, "one worker for one task")
    assert [task["taskArn"] for task in running()] == [busy["taskArn"]]

    explained = json.loads(get(port, "/explain"))["fleets"][policy.name]
    assert explained["busy_workers"] == 1
    assert explained["desired_after"] == 1
    metrics = get(port, "/metrics")
    assert f'airflow_ecs_worker_scaler_tasks_lost_to_scale_in_total{{fleet="{policy.name}"}} 0.0' in metrics

    airflow_database.run("UPDATE task_instance SET state = 'success'")
    wait_until(lambda: desired() == 0 and not running(), "no worker for no task")
    assert scaler.terminate() == 0
    assert "Traceback" not in scaler.text()


def test_kill_dash_nine_in_the_middle_of_a_release_stops_no_task(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, start_sidecar: Start
) -> None:
    policy = local_ecs.service(4)
    environment = settings(airflow_database, policy)

    def addresses() -> list[str]:
        arns = local_ecs.client.list_tasks(cluster=policy.cluster, serviceName=policy.service)["taskArns"]
        tasks = local_ecs.client.describe_tasks(cluster=policy.cluster, tasks=arns)["tasks"] if arns else []
        return sorted(
            interface["privateIpv4Address"]
            for task in tasks
            for container in task["containers"]
            for interface in container.get("networkInterfaces", [])
        )

    wait_until(lambda: len(addresses()) == 4, "four workers")
    busy = addresses()[:2]
    for address in busy:
        airflow_database.add("running", hostname=address)
        airflow_database.add("running", hostname=address)
    first = start_sidecar("worker_scaler", settings=environment)
    wait_until(lambda: '"why": "releasing"' in first.text(), "a release begins", deadline_seconds=30)
    first.kill_dash_nine()

    second = start_sidecar("worker_scaler", settings=environment)

    wait_until(lambda: addresses() == busy, "only the busy workers stay", deadline_seconds=30)
    assert second.terminate() == 0


def test_a_dry_run_changes_nothing(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run
) -> None:
    policy = local_ecs.service(0)
    airflow_database.add("queued")

    done = run_sidecar("worker_scaler", "once", "--dry-run", settings=settings(airflow_database, policy))

    assert done.code == 0
    assert '"desired_after": 1' in done.out
    (service,) = local_ecs.client.describe_services(cluster=policy.cluster, services=[policy.service])[
        "services"
    ]
    assert service["desiredCount"] == 0


# ---------------------------------------------------------------- bad configuration


def test_a_misspelled_variable_is_refused(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run
) -> None:
    given = settings(airflow_database, local_ecs.service(0), WORKER_SCALER_INTERVAL_SECOND="5")

    assert_refused(
        run_sidecar("worker_scaler", settings=given), "did you mean WORKER_SCALER_INTERVAL_SECONDS?"
    )


@pytest.mark.parametrize("wrong", ["cluster", "service"])
def test_an_unknown_cluster_or_service_is_refused(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run, wrong: str
) -> None:
    given = settings(airflow_database, local_ecs.service(0))
    (policy,) = json.loads(given["WORKER_SCALER_FLEETS"])
    given["WORKER_SCALER_FLEETS"] = json.dumps([{**policy, wrong: "nowhere"}])

    assert_refused(run_sidecar("worker_scaler", settings=given), '"event": "fatal"', "nowhere")


@pytest.mark.parametrize("verb", ["run", "check"])
def test_a_wrong_database_password_is_refused_and_shown_nowhere(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run, verb: str, aws: str
) -> None:
    given = settings(airflow_database, local_ecs.service(0))
    right = urlsplit(airflow_database.url).password
    assert right
    given["WORKER_SCALER_DATABASE_URL"] = airflow_database.url.replace(right, "wrong-hunter22")

    done = run_sidecar("worker_scaler", verb, settings=given)

    said = '"event": "fatal"' if verb == "run" else "PROBLEM  source database"
    assert_refused(done, said, "The database refused the login")
    assert "hunter22" not in done.out + done.err


# ---------------------------------------------------------------- the doctor


def test_check_is_content_with_a_good_environment(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run, aws: str
) -> None:
    done = run_sidecar("worker_scaler", "check", settings=settings(airflow_database, local_ecs.service(1)))

    assert done.code == 0, done.out + done.err
    assert "PROBLEM" not in done.out
    assert len([line for line in done.out.splitlines() if line.startswith("ok")]) >= 6


def test_check_names_a_service_that_application_auto_scaling_owns(
    airflow_database: AirflowDatabase, local_ecs: LocalEcs, run_sidecar: Run, aws: str
) -> None:
    policy = local_ecs.service(1)
    moto = boto3.Session().client("ecs", endpoint_url=aws)  # Application Auto Scaling asks it for the service
    moto.create_cluster(clusterName=policy.cluster)
    moto.register_task_definition(
        family=policy.service, containerDefinitions=[{"name": "worker", "image": "airflow", "memory": 512}]
    )
    moto.create_service(
        cluster=policy.cluster, serviceName=policy.service, taskDefinition=policy.service, desiredCount=0
    )
    moto.close()
    owner = boto3.Session().client("application-autoscaling")
    owner.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{policy.cluster}/{policy.service}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=0,
        MaxCapacity=5,
    )
    owner.close()

    done = run_sidecar("worker_scaler", "check", settings=settings(airflow_database, policy))

    assert_refused(done, "PROBLEM", "Application Auto Scaling owns")
