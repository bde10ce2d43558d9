"""``worker-scaler check``: what a run would stumble over, found without changing anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.app import Finding
from sidecar.aws import translate
from sidecar.errors import SidecarError
from worker_scaler.ecs import EcsServices
from worker_scaler.model import Fleet
from worker_scaler.sources.database import DatabaseSource

if TYPE_CHECKING:
    from types_boto3_ecs.type_defs import ServiceTypeDef

    from sidecar.aws import Aws


class Doctor:
    """Looks at the database, each service, and who else steers it."""

    def __init__(
        self, *, fleets: Sequence[Fleet], services: EcsServices, source: DatabaseSource, aws: Aws
    ) -> None:
        self._fleets = fleets
        self._services = services
        self._source = source
        self._aws = aws

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield one finding per thing looked at."""
        yield await asyncio.to_thread(self._database)
        for fleet in self._fleets:
            for finding in await asyncio.to_thread(self._fleet, fleet):
                yield finding

    def _database(self) -> Finding:
        what = "database: login, and the columns of task_instance"
        try:
            self._source.schema()
        except SidecarError as err:
            return _problem(what, err)
        return Finding(what=what, verdict="ok")

    def _fleet(self, fleet: Fleet) -> list[Finding]:
        what = f"fleet {fleet.name}: service {fleet.service} in cluster {fleet.cluster}"
        try:
            service = self._services.describe(fleet)
            sighting = self._services.look(fleet)
        except SidecarError as err:
            return [_problem(what, err)]
        seen = Finding(what=what, verdict="ok", why=f"desired {sighting.desired}")
        return [seen, *_shape(fleet, service), self._owner(fleet)]

    def _owner(self, fleet: Fleet) -> Finding:
        what = f"fleet {fleet.name}: no other scaler"
        resource = f"service/{_last(fleet.cluster)}/{_last(fleet.service)}"
        try:
            client = self._aws.session.client("application-autoscaling", config=self._aws.config())
            answer = client.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[resource])
        except (ClientError, BotoCoreError) as err:
            error = translate(err, "Cannot see whether Application Auto Scaling owns the service")
            return Finding(
                what=what, verdict="warning", why=f"{error.what}: {error.why}", remedy=error.remedy
            )
        if answer["ScalableTargets"]:
            return Finding(
                what=what,
                verdict="problem",
                why=f"Application Auto Scaling owns {resource}, and the two would fight",
                remedy="Deregister the scalable target, or take the service out of WORKER_SCALER_FLEETS",
            )
        return Finding(what=what, verdict="ok")


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


def _problem(what: str, err: SidecarError) -> Finding:
    why = f"{err.what}: {err.why}" if err.why else err.what
    return Finding(what=what, verdict="problem", why=why, remedy=err.remedy)


def _last(name_or_arn: str) -> str:
    return name_or_arn.rsplit("/", 1)[-1]
