"""Why a worker ended, from ECS's own words. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html (``stopCode``)
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

from enum import StrEnum

from worker_scaler.model import Sighting, Worker

_KILLED_EXIT_CODE = 137  # 128 + SIGKILL
_SCALING = "Scaling activity initiated by"
_UNWELL = ("health check", "unhealthy")


class Cause(StrEnum):
    """Why a worker ended. The value is a metric label: never rename, only add."""

    SCALE_IN = "scale_in"
    DEPLOYMENT = "deployment"
    SPOT = "spot"
    OOM = "oom"
    HEALTH = "health"
    FAILED_TO_START = "failed_to_start"
    OTHER = "other"


_BY_STOP_CODE = {
    "TaskFailedToStart": Cause.FAILED_TO_START,
    "SpotInterruption": Cause.SPOT,
    "InfrastructureHealth": Cause.HEALTH,
}


def cause_of(worker: Worker, sighting: Sighting) -> Cause:
    """Say why a stopped worker ended.

    Args:
        worker: it.
        sighting: its service, as it is now: ECS says the same words when it lowers a count and when it
            replaces an older deployment, so a worker of an older one counts as replaced.
    """
    if any(reason.startswith("OutOfMemory") for _, reason in worker.exits):
        return Cause.OOM
    if worker.stop_code in _BY_STOP_CODE:
        return _BY_STOP_CODE[worker.stop_code]
    reason = worker.stop_reason.lower()
    if any(word in reason for word in _UNWELL):
        return Cause.HEALTH
    if worker.stop_code == "TerminationNotice" and "spot" in reason:  # else somebody ended the EC2 host
        return Cause.SPOT
    if worker.stop_code == "ServiceSchedulerInitiated" and worker.stop_reason.startswith(_SCALING):
        return Cause.DEPLOYMENT if sighting.is_outdated(worker) else Cause.SCALE_IN
    was_killed = any(code == _KILLED_EXIT_CODE for code, _ in worker.exits)
    # Nobody asked it to end, and only the kernel kills unasked.
    return Cause.OOM if worker.stop_code == "EssentialContainerExited" and was_killed else Cause.OTHER
