"""Application Auto Scaling: it would start what is stopped here, so it is suspended meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sidecar.aws import Aws
from standalone_init.aws_calls import asking
from standalone_init.writers.model import Service, Suspended

if TYPE_CHECKING:
    from types_boto3_application_autoscaling.client import ApplicationAutoScalingClient
    from types_boto3_application_autoscaling.type_defs import SuspendedStateTypeDef

# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DescribeScalableTargets.html
_DESCRIBED = 50


class ScalableTargets:
    """Reads and sets what of a service's automatic scaling is suspended. Blocking."""

    def __init__(self, aws: Aws) -> None:
        with asking("Cannot reach Application Auto Scaling"):
            self._client: ApplicationAutoScalingClient = aws.session.client(
                "application-autoscaling", config=aws.config()
            )

    def look(self, services: Sequence[Service]) -> Mapping[Service, Suspended]:
        """Return those that are registered.

        Raises:
            SidecarError: see ``asking``.
        """
        by_resource = {service.resource: service for service in services}
        resources = list(by_resource)
        found: dict[Service, Suspended] = {}
        pages = self._client.get_paginator("describe_scalable_targets")
        for at in range(0, len(resources), _DESCRIBED):
            with asking("Cannot see what Application Auto Scaling does"):
                for page in pages.paginate(
                    ServiceNamespace="ecs",
                    ResourceIds=resources[at : at + _DESCRIBED],
                    ScalableDimension="ecs:service:DesiredCount",
                ):
                    for target in page["ScalableTargets"]:
                        service = by_resource.get(target["ResourceId"])
                        if service is not None:
                            found[service] = _suspended(target.get("SuspendedState", {}))
        return found

    def suspend(self, service: Service, what: Suspended) -> None:
        """Suspend exactly this much of it. Idempotent; its limits and policies stay.

        Raises:
            SidecarError: see ``asking``.
        """
        with asking(f"Cannot suspend or resume the scaling of {service}"):
            self._client.register_scalable_target(
                ServiceNamespace="ecs",
                ResourceId=service.resource,
                ScalableDimension="ecs:service:DesiredCount",
                SuspendedState={
                    "DynamicScalingInSuspended": what.dynamic_in,
                    "DynamicScalingOutSuspended": what.dynamic_out,
                    "ScheduledScalingSuspended": what.scheduled,
                },
            )


def _suspended(state: SuspendedStateTypeDef) -> Suspended:
    return Suspended(
        dynamic_in=state.get("DynamicScalingInSuspended", False),
        dynamic_out=state.get("DynamicScalingOutSuspended", False),
        scheduled=state.get("ScheduledScalingSuspended", False),
    )
