"""What ``check`` says of a worker's task definition, of the database role, and who is refused at ``run``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sidecar.app import Finding
from sidecar.errors import ConfigError
from sidecar.testing.fake_clock import FakeClock
from sidecar.testing.plugin import Finished
from worker_scaler.checks.may_update import MayUpdate, principal_of
from worker_scaler.checks.task_definition import findings
from worker_scaler.owners import ScalableTargets, UnownedServices

from .airflow_tables import Airflow, airflow, role
from .fakes import fleet
from .test_commands import settings as command_settings

if TYPE_CHECKING:
    from worker_scaler.model import Fleet

    from .conftest import LocalEcs

__all__ = ["airflow", "role"]  # fixtures

Run = Callable[..., Finished]
CONCURRENCY, HOSTNAME = "AIRFLOW__CELERY__WORKER_CONCURRENCY", "AIRFLOW__CORE__HOSTNAME_CALLABLE"
GOOD = {"DUMB_INIT_SETSID": "0", CONCURRENCY: "2", HOSTNAME: "x"}
SIGNALS, SLOTS, NAMES = "signals reach the worker alone", "tasks per worker", "host names lead to ECS tasks"


def looked_at(
    environment: dict[str, str] | None = None, *, network_mode: str = "awsvpc", **container: Any
) -> dict[str, Finding]:
    """Return the findings on one worker by their subject."""
    pairs = [{"name": name, "value": value} for name, value in (environment or GOOD).items()]
    worker = {"name": "worker", "stopTimeout": 120, "environment": pairs, **container}
    side = {"name": "log-forwarder", "essential": False, "command": ["run"]}
    definition = {"networkMode": network_mode, "containerDefinitions": [side, worker]}
    return {one.what.partition(": ")[2]: one for one in findings(fleet(), definition)}


def verdicts(found: dict[str, Finding]) -> set[str]:
    return {one.verdict for one in found.values()}


def test_a_good_worker_has_nothing_to_be_said_of() -> None:
    found = looked_at()

    assert len(found) == 4
    assert verdicts(found) == {"ok"}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("found", "subject", "verdict", "said"),
    [
        (looked_at(without("DUMB_INIT_SETSID")), SIGNALS, "problem", "they die"),
        (looked_at(GOOD | {"DUMB_INIT_SETSID": "1"}), SIGNALS, "problem", "they die"),
        (looked_at(stopTimeout=30), "stop timeout", "warning", "30 s after SIGTERM"),
        (looked_at(without(CONCURRENCY)), SLOTS, "warning", "runs 16 tasks at a time (Airflow's default"),
        (looked_at(command=["celery", "worker", "-c", "4"]), SLOTS, "problem", "runs 4 tasks"),
        (looked_at(GOOD | {"AIRFLOW__CELERY__WORKER_AUTOSCALE": "8,2"}), SLOTS, "warning", "by itself"),
        (looked_at(without(HOSTNAME), network_mode="host"), NAMES, "problem", "none can be released"),
        (looked_at(without(HOSTNAME)), NAMES, "warning", "asks DNS"),
    ],
)
def test_what_would_hurt_is_named(found: dict[str, Finding], subject: str, verdict: str, said: str) -> None:
    finding = found[subject]

    assert finding.verdict == verdict
    assert said in finding.why
    assert finding.remedy
    assert [one.verdict for name, one in found.items() if name != subject] == ["ok"] * 3


# ---------------------------------------------------------------- may the role set a count


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        ("arn:aws:sts::123456789012:assumed-role/scaler/task", "arn:aws:iam::123456789012:role/scaler"),
        ("arn:aws:iam::123456789012:user/me", "arn:aws:iam::123456789012:user/me"),
    ],
)
def test_the_role_behind_a_session_is_asked_for(caller: str, principal: str) -> None:
    assert principal_of(caller) == principal


class Identity:
    """STS and IAM that answer as told."""

    def __init__(self, decision: str | None) -> None:
        self._decision = decision
        self.session = self

    def config(self, *, attempts: int = 3) -> None:
        return None

    def client(self, service: str, config: object) -> Identity:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:sts::123456789012:assumed-role/scaler/task"}

    def simulate_principal_policy(self, **asked: Any) -> dict[str, Any]:
        if self._decision is None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SimulatePrincipalPolicy")
        assert asked["PolicySourceArn"] == "arn:aws:iam::123456789012:role/scaler"
        return {"EvaluationResults": [{"EvalDecision": self._decision}]}


@pytest.mark.parametrize(
    ("decision", "verdict"), [("allowed", "ok"), ("implicitDeny", "problem"), (None, "warning")]
)
def test_whether_the_role_may_set_a_count_is_asked_and_never_tried(
    decision: str | None, verdict: str
) -> None:
    found = MayUpdate(Identity(decision)).finding("the count", "arn:service")  # type: ignore[arg-type]  # it answers

    assert found.verdict == verdict


# ---------------------------------------------------------------- the database role


def settings(url: str, policy: Fleet, **more: str) -> dict[str, str]:
    given = command_settings(url)
    (given_fleet,) = json.loads(given["WORKER_SCALER_FLEETS"])
    fleets = json.dumps([{**given_fleet, "cluster": policy.cluster, "service": policy.service}])
    return given | {"WORKER_SCALER_FLEETS": fleets, "WORKER_SCALER_HTTP_PORT": "0", **more}


@pytest.mark.integration
def test_a_role_that_may_do_more_than_it_needs_is_warned_of(
    airflow: Airflow, role: tuple[str, str], local_ecs: LocalEcs, run_sidecar: Run, aws: str
) -> None:
    name, url = role
    policy = local_ecs.service(1)
    superuser = run_sidecar("worker_scaler", "check", settings=settings(airflow.url, policy))
    owner = settings(airflow.url, policy)
    granted = run_sidecar("worker_scaler", "grant-sql", "--role", name, settings=owner)
    airflow.run(granted.out)
    exact = run_sidecar("worker_scaler", "check", settings=settings(url, policy))
    airflow.run("CREATE TABLE connection (password text)")
    airflow.run(f"GRANT SELECT ON connection TO {name}")
    nosy = run_sidecar("worker_scaler", "check", settings=settings(url, policy))
    airflow.run(f"GRANT DELETE ON task_instance TO {name}")
    writing = run_sidecar("worker_scaler", "check", settings=settings(url, policy))

    assert "WARNING  database: the rights of the role: it is a superuser" in superuser.out
    assert "ok       database: the rights of the role\n" in exact.out
    assert "it may read connection, and needs none of it" in nosy.out
    assert "it may write 1 tables (task_instance)" in writing.out


@pytest.mark.integration
def test_parallelism_is_compared_with_the_slots_of_the_fleets(
    airflow: Airflow, local_ecs: LocalEcs, run_sidecar: Run, aws: str
) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the machine's own, as the database's is
    airflow.insert("job", job_type="SchedulerJob", state="running", latest_heartbeat=now)
    given = settings(airflow.url, local_ecs.service(1), WORKER_SCALER_AIRFLOW_PARALLELISM="10")

    done = run_sidecar("worker_scaler", "check", settings=given)

    assert "queue 10 tasks, the fleets have 16 slots: 6 can never be used" in done.out


# ---------------------------------------------------------------- who else steers a service


class Elsewhere:
    """Scalable targets as they are told."""

    def __init__(self, *owned: str) -> None:
        self.names = frozenset(owned)
        self.error: Exception | None = None

    def owned(self, fleets: Any) -> frozenset[str]:
        if self.error is not None:
            raise self.error
        return self.names


class Ours:
    """Services that tell which fleets they were asked for."""

    def look_all(self, fleets: Any) -> dict[str, Any]:
        return {one.name: "seen" for one in fleets}


def test_a_service_that_application_auto_scaling_owns_is_refused_and_the_others_are_steered() -> None:
    targets, clock = Elsewhere("taken"), FakeClock()
    services = UnownedServices(Ours(), targets, clock)  # type: ignore[arg-type]  # they answer as the real ones do
    taken, free = fleet(name="taken"), fleet(name="free")

    looks: Any = services.look_all([taken, free])
    assert isinstance(looks["taken"], ConfigError)
    assert "deregister-scalable-target" in looks["taken"].remedy
    assert looks["free"] == "seen"

    targets.error = ConfigError("not allowed")
    clock.advance(301)
    assert isinstance(services.look_all([taken])["taken"], ConfigError)

    targets.error, targets.names = None, frozenset()
    clock.advance(301)
    looks = services.look_all([taken])
    assert looks == {"taken": "seen"}


@pytest.mark.integration
def test_a_target_whose_scaling_is_suspended_is_nobodys(aws: str) -> None:
    name = "suspended-workers"
    ecs = boto3.Session().client("ecs")
    ecs.create_cluster(clusterName="main")
    ecs.register_task_definition(
        family=name, containerDefinitions=[{"name": "worker", "image": "airflow", "memory": 512}]
    )
    ecs.create_service(cluster="main", serviceName=name, taskDefinition=name, desiredCount=0)
    ecs.close()
    client = boto3.Session().client("application-autoscaling")
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/main/{name}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    targets, policy = ScalableTargets(client), fleet(cluster="main", service=name)

    client.register_scalable_target(**target, MinCapacity=0, MaxCapacity=5)  # type: ignore[arg-type]  # literals
    assert targets.owned([policy]) == {policy.name}
    client.register_scalable_target(
        **target,  # type: ignore[arg-type]  # literals
        SuspendedState={
            "DynamicScalingInSuspended": True,
            "DynamicScalingOutSuspended": True,
            "ScheduledScalingSuspended": True,
        },
    )
    assert targets.owned([policy]) == frozenset()
    client.close()
