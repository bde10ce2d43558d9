from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient


def test_a_cluster_is_created_once_and_described(client: ECSClient) -> None:
    first = client.create_cluster(clusterName="other")["cluster"]
    again = client.create_cluster(clusterName="other")["cluster"]
    answer = client.describe_clusters(clusters=["other", "nowhere"])
    assert first["clusterArn"] == again["clusterArn"] == answer["clusters"][0]["clusterArn"]
    assert [(each["arn"][-15:], each["reason"]) for each in answer["failures"]] == [
        ("cluster/nowhere", "MISSING")
    ]


def test_clusters_are_listed(client: ECSClient) -> None:
    assert client.list_clusters()["clusterArns"] == ["arn:aws:ecs:us-east-1:000000000000:cluster/main"]


def test_each_registration_of_a_family_is_a_new_revision(client: ECSClient) -> None:
    answer = client.register_task_definition(
        family="worker",
        cpu="256",
        memory="512",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        tags=[{"key": "team", "value": "data"}],
        containerDefinitions=[{"name": "main", "image": "two", "stopTimeout": 120}],
    )
    assert answer["taskDefinition"]["revision"] == 2
    assert client.describe_task_definition(taskDefinition="worker")["taskDefinition"]["revision"] == 2
    assert client.describe_task_definition(taskDefinition="worker:1")["taskDefinition"]["revision"] == 1
    by_arn = client.describe_task_definition(
        taskDefinition=answer["taskDefinition"]["taskDefinitionArn"], include=["TAGS"]
    )
    assert by_arn["tags"] == [{"key": "team", "value": "data"}]
    assert by_arn["taskDefinition"]["containerDefinitions"][0]["stopTimeout"] == 120


def test_an_unknown_definition_is_a_client_exception(client: ECSClient) -> None:
    for name in ("nothing", "worker:7"):
        with pytest.raises(client.exceptions.ClientException):
            client.describe_task_definition(taskDefinition=name)


@pytest.mark.parametrize(
    "containers",
    [
        [],
        [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}],
        [{"name": "a", "image": "i", "essential": False}],
    ],
)
def test_definitions_that_ecs_refuses_are_refused(
    client: ECSClient, containers: list[dict[str, str]]
) -> None:
    with pytest.raises(client.exceptions.ClientException):
        client.register_task_definition(family="bad", containerDefinitions=containers)  # type: ignore[arg-type]  # wrong on purpose


def test_a_stop_timeout_that_fargate_does_not_allow_is_refused(client: ECSClient) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException, match="stopTimeout"):
        client.register_task_definition(
            family="bad",
            requiresCompatibilities=["FARGATE"],
            containerDefinitions=[{"name": "a", "image": "i", "stopTimeout": 121}],
        )


def test_resources_are_tagged_untagged_and_unknown_ones_refused(client: ECSClient) -> None:
    arn = client.describe_clusters(clusters=["main"])["clusters"][0]["clusterArn"]
    client.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    client.untag_resource(resourceArn=arn, tagKeys=["a", "never there"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
    described = client.describe_clusters(clusters=["main"], include=["TAGS"])["clusters"][0]
    assert described["tags"] == [{"key": "b", "value": "2"}]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.list_tags_for_resource(resourceArn=arn + "-nowhere")


def test_an_action_that_is_not_played_says_which_are(client: ECSClient) -> None:
    with pytest.raises(ClientError, match=r"'DescribeContainerInstances'. It plays: .*RunTask") as err:
        client.describe_container_instances(cluster="main", containerInstances=["i"])
    assert err.value.response["Error"]["Code"] == "UnknownOperationException"
