"""The model as the ECS API's JSON: member names, ARNs, epoch seconds, absent where AWS leaves things out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from local_ecs.model import Cluster, Container, Deployment, JsonObject, Service, Task, TaskDefinition
from local_ecs.protection import Refused
from local_ecs.state import State


def seconds(moment: datetime | None) -> float | None:
    """Return a moment as awsJson carries it: seconds since 1970; None stays None."""
    return None if moment is None else round(moment.timestamp(), 3)


def present(document: Mapping[str, Any]) -> JsonObject:
    """Leave out what is None, as AWS does."""
    return {name: value for name, value in document.items() if value is not None}


def failure_json(arn: str, reason: str, detail: str | None = None) -> JsonObject:
    """One entry of ``failures``."""
    return present({"arn": arn, "reason": reason, "detail": detail})


def refused_json(arn: str, refused: Refused) -> JsonObject:
    """One entry of ``failures`` of a task protection request."""
    return failure_json(arn, refused.reason, refused.detail)


def tags_json(tags: Mapping[str, str]) -> list[JsonObject]:
    """Tags as a list of key and value."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def cluster_json(cluster: Cluster, state: State) -> JsonObject:
    """``Cluster``, with true counts."""
    tasks = [task for task in state.live.values() if task.cluster == cluster.name]
    services = [s for s in state.services.values() if s.key.cluster == cluster.name and s.status == "ACTIVE"]
    return {
        "clusterArn": cluster.arn,
        "clusterName": cluster.name,
        "status": "ACTIVE",
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": sum(task.is_running for task in tasks),
        "pendingTasksCount": sum(task.is_starting for task in tasks),
        "activeServicesCount": len(services),
    }


def definition_json(definition: TaskDefinition) -> JsonObject:
    """``TaskDefinition``: what was registered, and what ECS adds."""
    document = {name: value for name, value in definition.document.items() if name != "tags"}
    return {
        **document,
        "taskDefinitionArn": definition.arn,
        "family": definition.family,
        "revision": definition.revision,
        "status": "ACTIVE",
        "registeredAt": seconds(definition.registered_at),
    }


def service_json(service: Service, tasks: Sequence[Task], state: State) -> JsonObject:
    """``Service``; ``tasks`` are all of it that have not ended."""
    return {
        **service.document,
        "serviceArn": service.arn,
        "serviceName": service.key.name,
        "clusterArn": state.clusters[service.key.cluster].arn,
        "status": service.status.value,
        "desiredCount": service.desired_count,
        "runningCount": sum(task.is_running for task in tasks),
        "pendingCount": sum(task.is_starting for task in tasks),
        "launchType": service.launch_type,
        "taskDefinition": service.primary.definition.arn,
        "deploymentConfiguration": {
            "minimumHealthyPercent": service.rollout.minimum_healthy_percent,
            "maximumPercent": service.rollout.maximum_percent,
            "deploymentCircuitBreaker": {
                "enable": service.rollout.circuit_breaker,
                "rollback": service.rollout.roll_back,
            },
        },
        "deployments": [_deployment_json(each, service, tasks) for each in service.deployments],
        "events": [
            {"id": each.id, "createdAt": seconds(each.created_at), "message": each.message}
            for each in reversed(service.events)
        ],
        "createdAt": seconds(service.created_at),
        "schedulingStrategy": "REPLICA",
    }


def _deployment_json(deployment: Deployment, service: Service, tasks: Sequence[Task]) -> JsonObject:
    own = [task for task in tasks if task.deployment_id == deployment.id]
    is_primary = deployment.id == service.primary.id
    return {
        "id": deployment.id,
        "status": "PRIMARY" if is_primary else "ACTIVE",
        "taskDefinition": deployment.definition.arn,
        "desiredCount": service.desired_count if is_primary else sum(task.wanted for task in own),
        "runningCount": sum(task.is_running for task in own),
        "pendingCount": sum(task.is_starting for task in own),
        "failedTasks": deployment.failed_tasks,
        "createdAt": seconds(deployment.created_at),
        "updatedAt": seconds(deployment.updated_at),
        "launchType": service.launch_type,
        "rolloutState": deployment.rollout_state.value,
        "rolloutStateReason": deployment.rollout_reason,
    }


def task_json(task: Task, state: State) -> JsonObject:
    """``Task``, without its tags."""
    return present(
        {
            "taskArn": task.arn,
            "clusterArn": state.clusters[task.cluster].arn,
            "taskDefinitionArn": task.definition.arn,
            "group": task.group,
            "startedBy": task.started_by,
            "launchType": task.launch_type,
            "availabilityZone": task.availability_zone,
            "lastStatus": task.last_status.value,
            "desiredStatus": "RUNNING" if task.wanted else "STOPPED",
            "connectivity": None if task.started_at is None else "CONNECTED",
            "connectivityAt": seconds(task.started_at),
            "containers": [_container_json(each, task, state) for each in task.containers],
            "attachments": [_attachment_json(task)],
            "overrides": {"containerOverrides": [], **task.overrides},
            "cpu": task.definition.document.get("cpu"),
            "memory": task.definition.document.get("memory"),
            "healthStatus": "UNKNOWN",
            "createdAt": seconds(task.created_at),
            "pullStartedAt": seconds(task.pull_started_at),
            "pullStoppedAt": seconds(task.pull_stopped_at),
            "startedAt": seconds(task.started_at),
            "stoppingAt": seconds(task.stopping_at),
            "stoppedAt": seconds(task.stopped_at),
            "stopCode": None if task.stop_code is None else task.stop_code.value,
            "stoppedReason": task.stopped_reason,
            "version": task.version,
        }
    )


def _container_json(container: Container, task: Task, state: State) -> JsonObject:
    interfaces = [] if task.address is None else [_interface_json(task)]
    return present(
        {
            "containerArn": state.arns.of("container", f"{task.cluster}/{task.id}/{container.name}"),
            "taskArn": task.arn,
            "name": container.name,
            "image": container.image,
            "runtimeId": container.runtime_id,
            "lastStatus": container.last_status.value,
            "exitCode": container.exit_code,
            "reason": container.reason,
            "networkInterfaces": interfaces,
            "healthStatus": "UNKNOWN",
        }
    )


def _interface_json(task: Task) -> JsonObject:
    return {"attachmentId": attachment_id(task), "privateIpv4Address": task.address}


def attachment_id(task: Task) -> str:
    """Return the id of a task's network attachment: a UUID made of the task's own id, the same each time."""
    half = task.id[::-1]
    return f"{half[:8]}-{half[8:12]}-{half[12:16]}-{half[16:20]}-{half[20:]}"


def _attachment_json(task: Task) -> JsonObject:
    details = [{"name": "subnetId", "value": f"subnet-{task.availability_zone}"}]
    if task.address is not None:
        details += [
            {"name": "networkInterfaceId", "value": f"eni-{task.id[:17]}"},
            {"name": "privateDnsName", "value": task.private_dns_name or ""},
            {"name": "privateIPv4Address", "value": task.address},
        ]
    status = "PRECREATED" if task.address is None else "ATTACHED" if task.stopped_at is None else "DELETED"
    return {
        "id": attachment_id(task),
        "type": "ElasticNetworkInterface",
        "status": status,
        "details": details,
    }


def protected_json(task: Task, now: datetime) -> JsonObject:
    """``ProtectedTask``: what the protection of a task is at ``now``."""
    is_protected = task.is_protected(now)
    expires = seconds(task.protected_until) if is_protected else None
    return present({"taskArn": task.arn, "protectionEnabled": is_protected, "expirationDate": expires})
