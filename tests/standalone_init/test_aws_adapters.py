"""The adapters against a server that plays AWS: RDS, Aurora, ECS, scaling, and what they refuse."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError

from sidecar.aws import Aws
from sidecar.errors import ConfigError, SidecarError
from standalone_init.aws_calls import asking
from standalone_init.errors import AwsRefused, SnapshotImpossible
from standalone_init.snapshots.model import TAG, Kind, Source
from standalone_init.snapshots.ports import Rds
from standalone_init.snapshots.rds import open_rds
from standalone_init.writers.ecs import EcsWriters
from standalone_init.writers.model import ALL_SUSPENDED, Memory, Service, Suspended
from standalone_init.writers.scaling import ScalableTargets

pytestmark = pytest.mark.integration
REGION = "eu-west-1"


@pytest.fixture
def here(aws: str) -> Aws:
    del aws
    return Aws(service="standalone-init", version="0", region=REGION)


@pytest.fixture(params=list(Kind))
def source(request: pytest.FixtureRequest, aws: str) -> Source:
    """An instance, and a cluster."""
    del aws
    identifier = f"airflow-{uuid.uuid4().hex[:8]}"
    rds = boto3.client("rds")
    if request.param is Kind.RDS:
        rds.create_db_instance(
            DBInstanceIdentifier=identifier,
            DBInstanceClass="db.t4g.medium",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="airflow",
            MasterUserPassword="hunter2hunter2",
        )
    else:
        rds.create_db_cluster(
            DBClusterIdentifier=identifier,
            Engine="aurora-postgresql",
            MasterUsername="airflow",
            MasterUserPassword="hunter2hunter2",
        )
    return Source(kind=request.param, identifier=identifier)


@pytest.fixture
def rds(source: Source, here: Aws) -> Rds:
    return open_rds(source, here)


def test_a_source_says_how_it_is_and_what_a_restored_one_needs(rds: Rds) -> None:
    database = rds.database()

    assert database.status == "available"
    assert database.resource_id
    assert "vpc-security-group-ids" in database.restore or "engine" in database.restore


def test_a_snapshot_is_made_found_tagged_and_removed(rds: Rds, source: Source) -> None:
    name = f"airflow-ecs-{uuid.uuid4().hex[:8]}"
    assert rds.find(name) is None

    rds.create(name, {TAG: "upgrade"})

    found = rds.find(name)
    assert found is not None
    assert (found.status, found.made_from) == ("available", source.identifier)
    (listed,) = rds.manual()
    assert (listed.name, dict(listed.tags)) == (name, {TAG: "upgrade"})
    assert listed.created is not None
    rds.delete(name)
    assert rds.find(name) is None


def test_a_quota_that_is_reached_has_its_own_error(rds: Rds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_RDS_SNAPSHOT_LIMIT", "0")  # moto's own, in this process

    with pytest.raises(SnapshotImpossible, match="STANDALONE_INIT_SNAPSHOTS_KEPT"):
        rds.create("airflow-ecs-one-too-many", {})


def test_a_quota_that_aws_does_not_tell_is_unknown(rds: Rds) -> None:
    assert rds.quota() is None


@pytest.mark.parametrize("kind", list(Kind))
def test_what_does_not_exist_is_a_wrong_setting(here: Aws, kind: Kind) -> None:
    with pytest.raises(ConfigError, match="Cannot look at"):
        open_rds(Source(kind=kind, identifier="absent"), here).database()


# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html#API_CreateDBSnapshot_Errors
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/CommonErrors.html
@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "KMSKeyNotAccessibleFault"])
def test_a_missing_permission_and_a_lost_key_have_an_exit_code_of_their_own(code: str) -> None:
    refused = ClientError({"Error": {"Code": code, "Message": "no"}}, "CreateDBSnapshot")

    with pytest.raises(AwsRefused) as told, asking("Cannot make snapshot 'x'"):
        raise refused

    assert told.value.exit_code == 77
    assert told.value.remedy


def test_without_a_region_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    with pytest.raises(SidecarError, match="Set AWS_REGION"):
        EcsWriters(Aws(service="standalone-init", version="0"))


@pytest.fixture
def service(aws: str) -> Iterator[Service]:
    """A service that moto's ECS and its Application Auto Scaling both know."""
    del aws
    client = boto3.client("ecs")
    cluster = f"main-{uuid.uuid4().hex[:8]}"
    client.create_cluster(clusterName=cluster)
    client.register_task_definition(
        family=cluster, containerDefinitions=[{"name": "a", "image": "a", "memory": 64}]
    )
    client.create_service(
        cluster=cluster, serviceName="workers", taskDefinition=cluster, desiredCount=3, launchType="FARGATE"
    )
    yield Service(cluster=cluster, service="workers")
    client.close()


def test_a_scalable_target_is_suspended_and_given_back_with_its_limits(service: Service, here: Aws) -> None:
    client = boto3.client("application-autoscaling")
    client.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=service.resource,
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=1,
        MaxCapacity=9,
    )
    targets = ScalableTargets(here)
    assert targets.look([service]) == {service: Suspended.of("nothing")}

    targets.suspend(service, ALL_SUSPENDED)

    assert targets.look([service]) == {service: ALL_SUSPENDED}
    (target,) = client.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[service.resource])[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 9)


def test_a_service_that_nothing_scales_has_no_target(service: Service, here: Aws) -> None:
    assert ScalableTargets(here).look([service]) == {}


def test_a_service_carries_what_is_remembered(service: Service, here: Aws) -> None:
    ecs = EcsWriters(here)
    seen = ecs.look([service])[service]
    memory = Memory(service=service, desired=seen.desired, suspended=ALL_SUSPENDED, position="x=1 y=2")

    ecs.tag(seen, memory)
    ecs.set_desired(service, 0)

    stopped = ecs.look([service])[service]
    assert stopped.desired == 0
    assert stopped.memory == memory
    ecs.untag(stopped)
    assert ecs.look([service])[service].memory is None


def test_what_ecs_does_not_know_is_not_there(service: Service, here: Aws) -> None:
    absent = Service(cluster=service.cluster, service="absent")

    assert set(EcsWriters(here).look([service, absent])) == {service}
