"""The actions of the ECS API, one module per kind of thing; :data:`ACTIONS` is all that is played."""

from __future__ import annotations

from collections.abc import Callable

from local_ecs.actions import clusters, definitions, protection, services, tags, tasks
from local_ecs.actions.context import Context
from local_ecs.model import JsonObject
from local_ecs.request import Request

Handler = Callable[[Context, Request], JsonObject]

ACTIONS: dict[str, Handler] = {
    "CreateCluster": clusters.create_cluster,
    "DescribeClusters": clusters.describe_clusters,
    "ListClusters": clusters.list_clusters,
    "RegisterTaskDefinition": definitions.register_task_definition,
    "DescribeTaskDefinition": definitions.describe_task_definition,
    "CreateService": services.create_service,
    "UpdateService": services.update_service,
    "DeleteService": services.delete_service,
    "DescribeServices": services.describe_services,
    "ListServices": services.list_services,
    "RunTask": tasks.run_task,
    "StopTask": tasks.stop_task,
    "ListTasks": tasks.list_tasks,
    "DescribeTasks": tasks.describe_tasks,
    "UpdateTaskProtection": protection.update_task_protection,
    "GetTaskProtection": protection.get_task_protection,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "ListTagsForResource": tags.list_tags_for_resource,
}
