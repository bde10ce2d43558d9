"""Application Auto Scaling and us: a service that it owns is refused, never fought over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.aws import translate
from sidecar.errors import ConfigError, SidecarError

if TYPE_CHECKING:
    from types_boto3_application_autoscaling.client import ApplicationAutoScalingClient
    from types_boto3_application_autoscaling.type_defs import ScalableTargetTypeDef

    from sidecar.clock import Clock
    from worker_scaler.model import Fleet, Sighting
    from worker_scaler.ports import Services
    from worker_scaler.steps import Refusal

_LOOK_EVERY_SECONDS = 300.0
_SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


class ScalableTargets:
    """Knows which services are registered with Application Auto Scaling and not suspended. Blocking."""

    def __init__(self, client: ApplicationAutoScalingClient) -> None:
        self._client = client

    def owned(self, fleets: Sequence[Fleet]) -> frozenset[str]:
        """Return the names of the fleets whose service it steers.

        Raises:
            ConfigError: not allowed.
            Transient: it did not answer; a retry may help.
        """
        names = {resource_of(fleet): fleet.name for fleet in fleets}
        try:
            targets = self._described(list(names))
        except (ClientError, BotoCoreError) as err:
            raise translate(err, "Cannot see whether Application Auto Scaling owns a service") from err
        return frozenset(
            names[target["ResourceId"]]
            for target in targets
            if target["ResourceId"] in names and not _is_suspended(target)
        )

    def _described(self, resources: Sequence[str]) -> list[ScalableTargetTypeDef]:
        pages = self._client.get_paginator("describe_scalable_targets").paginate(
            ServiceNamespace="ecs",
            ResourceIds=list(resources),
            ScalableDimension="ecs:service:DesiredCount",
        )
        return [target for page in pages for target in page["ScalableTargets"]]


class UnownedServices:
    """Implements :class:`worker_scaler.ports.Services`; a fleet that somebody else owns cannot be seen.

    Asked every five minutes. While it does not answer, what it said last holds.
    """

    def __init__(self, services: Services, targets: ScalableTargets, clock: Clock) -> None:
        self._services = services
        self._targets = targets
        self._clock = clock
        self._owned: frozenset[str] = frozenset()
        self._asked_at: float | None = None

    def look_all(self, fleets: Sequence[Fleet]) -> Mapping[str, Sighting | SidecarError]:
        """Look at those that are ours; the others are answered with the way out (see the port)."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= _LOOK_EVERY_SECONDS:
            self._asked_at = now
            with suppress(SidecarError):  # 'check' tells it; a right that is missing must not stop the scaler
                self._owned = self._targets.owned(fleets)
        ours = [fleet for fleet in fleets if fleet.name not in self._owned]
        refused = {fleet.name: owned_by_another(fleet) for fleet in fleets if fleet.name in self._owned}
        return {**self._services.look_all(ours), **refused}

    def protect(self, fleet: Fleet, arns: Sequence[str], *, minutes: int) -> tuple[Refusal, ...]:
        """Protect (see the port)."""
        return self._services.protect(fleet, arns, minutes=minutes)

    def unprotect(self, fleet: Fleet, arns: Sequence[str]) -> tuple[Refusal, ...]:
        """Unprotect (see the port)."""
        return self._services.unprotect(fleet, arns)

    def set_desired(self, fleet: Fleet, count: int) -> None:
        """Set the count (see the port)."""
        self._services.set_desired(fleet, count)


def owned_by_another(fleet: Fleet) -> ConfigError:
    """Return the refusal of a service that Application Auto Scaling steers."""
    return ConfigError(
        f"Service {fleet.service!r} is not steered",
        why=f"Application Auto Scaling owns {resource_of(fleet)}, and the two would fight",
        remedy=f"Deregister the scalable target (aws application-autoscaling deregister-scalable-target "
        f"--service-namespace ecs --scalable-dimension ecs:service:DesiredCount --resource-id "
        f"{resource_of(fleet)}), suspend all its scaling, or take fleet {fleet.name!r} out of "
        "WORKER_SCALER_FLEETS",
    )


def resource_of(fleet: Fleet) -> str:
    """Return how Application Auto Scaling names the service."""
    return "service/" + "/".join(part.rsplit("/", 1)[-1] for part in (fleet.cluster, fleet.service))


def _is_suspended(target: ScalableTargetTypeDef) -> bool:
    state = target.get("SuspendedState", {})
    return all(state.get(name, False) for name in _SUSPENSIONS)
