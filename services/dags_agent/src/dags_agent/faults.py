"""What an error of the target's file system means, in words that say what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from dags_agent.errors import TargetFailed, TargetFault

_FAULTS = {
    errno.ENOSPC: TargetFault.FULL,
    errno.EDQUOT: TargetFault.FULL,
    errno.EROFS: TargetFault.READ_ONLY,
    errno.ESTALE: TargetFault.STALE,
    errno.EIO: TargetFault.IO,
    errno.EACCES: TargetFault.PERMISSION,
    errno.EPERM: TargetFault.PERMISSION,
}
_REMEDIES = {
    TargetFault.FULL: "Free space or raise the quota, or keep fewer releases",
    TargetFault.READ_ONLY: "Mount the target writable in the agent (the EFS volume's readOnly in the task)",
    TargetFault.STALE: "Restart the task to mount again: the file system was replaced under it",
    TargetFault.IO: "Check the mount target, its security group and the file system's state",
    TargetFault.PERMISSION: "Check the access point's owner, this container's user and ClientWrite",
    TargetFault.OTHER: "Check the mount and what else writes there",
}


def explained(err: OSError, target: Path) -> TargetFailed:
    """Return the error that a person can act on; the live release is untouched whatever it says."""
    fault = _FAULTS.get(err.errno or 0, TargetFault.OTHER)
    return TargetFailed(
        fault,
        f"Cannot publish into {str(target)!r}",
        why=str(err),
        remedy=f"{_REMEDIES[fault]}. It will be tried again, the live release stays",
    )
