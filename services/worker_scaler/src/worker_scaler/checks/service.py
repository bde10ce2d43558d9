"""One fleet's ECS service: can it be seen and changed, who else steers it, what are its workers made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.app import Finding
from sidecar.aws import translate
from sidecar.errors import SidecarError
from worker_scaler.checks import task_definition
from worker_scaler.checks.findings import problem, warning
from worker_scaler.owners import ScalableTargets, owned_by_another

if TYPE_CHECKING:
    from types_boto3_ecs.client import ECSClient
    from types_boto3_ecs.type_defs import ServiceTypeDef

    from worker_scaler.checks.may_update import MayUpdate
    from worker_scaler.ecs import EcsServices
    from worker_scaler.model import Fleet

_NOBODY = "0" * 32
"""A task id that no task has: whether one may protect can be tried on it, changing nothing."""


class ServiceCheck:
    """Looks at services. Blocking."""

    def __init__(
        self, services: EcsServices, client: ECSClient, targets: ScalableTargets, may_update: MayUpdate
    ) -> None:
        self._services = services
        self._client = client
        self._targets = targets
        self._may_update = may_update

    def findings(self, fleet: Fleet) -> Iterator[Finding]:
        """Yield what is to be said of one fleet."""
        what = f"fleet {fleet.name}: service {fleet.service} in cluster {fleet.cluster}"
        try:
            service = self._services.describe(fleet)
            sighting = self._services.look(fleet)
        except SidecarError as err:
            yield problem(what, err)
            return
        yield Finding(
            what=what, verdict="ok", why=f"desired {sighting.desired}, workers {len(sighting.present)}"
        )
        yield self._may_update.finding(
            f"fleet {fleet.name}: permission to set the count", service.get("serviceArn", "")
        )
        yield self._may_protect(fleet)
        yield self._owner(fleet)
        yield from _shape(fleet, service)
        yield from self._task_definition(fleet, service)

    def _may_protect(self, fleet: Fleet) -> Finding:
        what = f"fleet {fleet.name}: permission to protect workers"
        try:
            self._client.update_task_protection(
                cluster=fleet.cluster, tasks=[_NOBODY], protectionEnabled=True, expiresInMinutes=1
            )
        except ClientError as err:
            if "AccessDenied" in err.response.get("Error", {}).get("Code", ""):
                return problem(what, translate(err, "Workers cannot be protected"))
        except BotoCoreError as err:
            return warning(what, translate(err, "Cannot see whether workers may be protected"))
        return Finding(what=what, verdict="ok")

    def _owner(self, fleet: Fleet) -> Finding:
        what = f"fleet {fleet.name}: no other scaler"
        try:
            owned = self._targets.owned([fleet])
        except SidecarError as err:
            return warning(what, err)
        return problem(what, owned_by_another(fleet)) if owned else Finding(what=what, verdict="ok")

    def _task_definition(self, fleet: Fleet, service: ServiceTypeDef) -> Iterator[Finding]:
        if not fleet.queues:
            return
        try:
            answer = self._client.describe_task_definition(taskDefinition=service.get("taskDefinition", ""))
        except (ClientError, BotoCoreError) as err:
            error = translate(err, "Cannot look at the workers' task definition")
            yield warning(f"fleet {fleet.name}: task definition", error)
            return
        yield from task_definition.findings(fleet, answer["taskDefinition"])


def _shape(fleet: Fleet, service: ServiceTypeDef) -> Iterator[Finding]:
    """Yield what of the service's own configuration would hurt."""
    if service.get("schedulingStrategy") == "DAEMON":
        yield Finding(
            what=f"fleet {fleet.name}: scheduling strategy",
            verdict="problem",
            why="a DAEMON service has no desired count",
            remedy="Make it a REPLICA service",
        )
    if service.get("availabilityZoneRebalancing") == "ENABLED":
        yield Finding(
            what=f"fleet {fleet.name}: availability zone rebalancing",
            verdict="warning",
            why="ECS stops workers on its own to even out the zones",
            remedy="Set availabilityZoneRebalancing=DISABLED on worker services",
        )
