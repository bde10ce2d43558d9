"""All that this ECS knows at one moment, and how a name in a request is resolved to it.

Pure, though not frozen: the dictionaries change, their values are replaced whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from local_ecs.errors import (
    ClientError,
    ClusterNotFoundError,
    ResourceNotFoundError,
    ServiceNotActiveError,
    ServiceNotFoundError,
)
from local_ecs.model import (
    Arns,
    Cluster,
    LastStatus,
    Rules,
    Service,
    ServiceKey,
    ServiceStatus,
    Task,
    TaskDefinition,
)

DEFAULT_CLUSTER = "default"


def short_name(name_or_arn: str) -> str:
    """Return the name at the end of an ARN, or the name itself."""
    return name_or_arn.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunToken:
    """What a RunTask with a ``clientToken`` asked for and got; asked again, it gets the same."""

    fingerprint: str
    task_ids: tuple[str, ...]
    created_at: datetime


@dataclass(slots=True, kw_only=True)
class State:
    """Clusters, definitions, services and tasks. ``live`` tasks have not ended, ``stopped`` ones have."""

    arns: Arns = field(default_factory=Arns)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    definitions: dict[str, list[TaskDefinition]] = field(default_factory=dict)
    services: dict[ServiceKey, Service] = field(default_factory=dict)
    live: dict[str, Task] = field(default_factory=dict)
    stopped: dict[str, Task] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    run_tokens: dict[tuple[str, str], RunToken] = field(default_factory=dict)

    def cluster(self, name_or_arn: str | None) -> Cluster:
        """Return the cluster a request names; without a name it is ``default``.

        Raises:
            ClusterNotFoundError: there is none of this name.
        """
        found = self.clusters.get(short_name(name_or_arn or DEFAULT_CLUSTER))
        if found is None:
            raise ClusterNotFoundError("Cluster not found.")
        return found

    def service(self, cluster: Cluster, name_or_arn: str) -> Service:
        """Return an ACTIVE service.

        Raises:
            ServiceNotFoundError: there was never one of this name in the cluster.
            ServiceNotActiveError: it is deleted or being deleted.
        """
        found = self.services.get(ServiceKey(cluster.name, short_name(name_or_arn)))
        if found is None:
            raise ServiceNotFoundError("Service not found.")
        if found.status is not ServiceStatus.ACTIVE:
            raise ServiceNotActiveError("Service was not ACTIVE.")
        return found

    def task(self, cluster: Cluster, id_or_arn: str) -> Task | None:
        """Return a task of the cluster, also one that ended within the last hour; None when unknown."""
        task_id = short_name(id_or_arn)
        found = self.live.get(task_id) or self.stopped.get(task_id)
        return found if found is not None and found.cluster == cluster.name else None

    def definition(self, name: str) -> TaskDefinition:
        """Return the definition called ``family``, ``family:revision`` or by its ARN.

        Raises:
            ClientError: there is none.
        """
        family, _, revision = short_name(name).partition(":")
        revisions = self.definitions.get(family, [])
        if not revision and revisions:
            return revisions[-1]
        for definition in revisions:
            if str(definition.revision) == revision:
                return definition
        raise ClientError(f"Unable to describe task definition. No task definition is called {name!r}.")

    def tasks(self) -> Iterator[Task]:
        """Return all tasks, the live ones first."""
        yield from self.live.values()
        yield from self.stopped.values()

    def live_by_service(self) -> dict[ServiceKey, list[Task]]:
        """Return the tasks that have not ended, of each service that has any."""
        grouped: dict[ServiceKey, list[Task]] = {}
        for task in self.live.values():
            if (key := task.service_key) is not None:
                grouped.setdefault(key, []).append(task)
        return grouped

    def put(self, task: Task) -> None:
        """Store a task where its status says it belongs."""
        if task.last_status is LastStatus.STOPPED:
            self.live.pop(task.id, None)
            self.stopped[task.id] = task
        else:
            self.live[task.id] = task

    def forget_old(self, now: datetime, rules: Rules) -> None:
        """Drop ended tasks and client tokens that ECS would have forgotten; both are in order of time."""
        oldest = now - timedelta(seconds=rules.stopped_kept_seconds)
        for task in list(self.stopped.values()):
            is_recent = task.stopped_at is not None and task.stopped_at > oldest
            if is_recent and len(self.stopped) <= rules.stopped_kept:
                break
            del self.stopped[task.id]
            self.tags.pop(task.arn, None)
        for key, token in list(self.run_tokens.items()):
            if token.created_at > oldest:
                break
            del self.run_tokens[key]

    def require_known_arn(self, arn: str) -> None:
        """Check that a tag has something to hang on.

        Raises:
            ResourceNotFoundError: nothing has this ARN.
        """
        known = (
            any(cluster.arn == arn for cluster in self.clusters.values())
            or any(service.arn == arn for service in self.services.values())
            or any(definition.arn == arn for family in self.definitions.values() for definition in family)
            or any(task.arn == arn for task in self.tasks())
        )
        if not known:
            raise ResourceNotFoundError(f"The specified resource {arn!r} was not found.")
