"""What ECS says about the task we run in, read once.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

_DEADLINE_SECONDS = 2.0


def read_metadata(uri: str) -> dict[str, str]:
    """Return the cluster, task and container of this process, as far as they are known.

    Empty without ``uri`` (not on ECS) or without an answer: logs are shipped all the same.

    Args:
        uri: the value of ``ECS_CONTAINER_METADATA_URI_V4``.
    """
    if not uri:
        return {}
    task, container = _get(f"{uri}/task"), _get(uri)
    facts = {
        "cluster": task.get("Cluster"),
        "task_arn": task.get("TaskARN"),
        "task_family": task.get("Family"),
        "task_revision": task.get("Revision"),
        "availability_zone": task.get("AvailabilityZone"),
        "container": container.get("Name"),
    }
    return {name: str(value) for name, value in facts.items() if value}


def _get(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or http.client.HTTP_PORT, timeout=_DEADLINE_SECONDS
    )
    try:
        connection.request("GET", parts.path)
        document = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return document if isinstance(document, dict) else {}
