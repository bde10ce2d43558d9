"""The task metadata endpoint, version 4, as tasks see it at ``$ECS_CONTAINER_METADATA_URI_V4``.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate-response.html
"""

from __future__ import annotations

from datetime import UTC, datetime

from local_ecs.model import Container, JsonObject, Task
from local_ecs.state import State
from local_ecs.wire import present


def task_metadata(task: Task, state: State) -> JsonObject:
    """The answer of ``/task``."""
    return present(
        {
            "Cluster": state.clusters[task.cluster].arn,
            "TaskARN": task.arn,
            "ServiceName": task.service,
            "Family": task.definition.family,
            "Revision": str(task.definition.revision),
            "DesiredStatus": "RUNNING" if task.wanted else "STOPPED",
            "KnownStatus": task.last_status.value,
            "LaunchType": task.launch_type,
            "AvailabilityZone": task.availability_zone,
            "PullStartedAt": _iso(task.pull_started_at),
            "PullStoppedAt": _iso(task.pull_stopped_at),
            "Containers": [container_metadata(each, task) for each in task.containers],
        }
    )


def container_metadata(container: Container, task: Task) -> JsonObject:
    """The answer of the endpoint itself: one container."""
    network = {
        "NetworkMode": "awsvpc",
        "IPv4Addresses": [] if task.address is None else [task.address],
        "PrivateDNSName": task.private_dns_name,
    }
    return present(
        {
            "DockerId": container.runtime_id,
            "Name": container.name,
            "DockerName": container.name,
            "Image": container.image,
            "Labels": {
                "com.amazonaws.ecs.task-arn": task.arn,
                "com.amazonaws.ecs.task-definition-family": task.definition.family,
                "com.amazonaws.ecs.task-definition-version": str(task.definition.revision),
                "com.amazonaws.ecs.container-name": container.name,
            },
            "DesiredStatus": "RUNNING" if task.wanted else "STOPPED",
            "KnownStatus": container.last_status.value,
            "ExitCode": container.exit_code,
            "CreatedAt": _iso(task.created_at),
            "StartedAt": _iso(task.started_at),
            "Type": "NORMAL",
            "Networks": [present(network)],
        }
    )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
