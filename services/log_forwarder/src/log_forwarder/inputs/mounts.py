"""On which file systems inotify is blind: those that other machines write to."""

from __future__ import annotations

from pathlib import Path

# EFS is nfs4. What another client writes to these raises no event here.
_REMOTE = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "lustre",
    "afs",
    "gpfs",
    "glusterfs",
    "virtiofs",
}
_MOUNTS = Path("/proc/self/mountinfo")


def is_remote(directory: str, mounts: str | None = None) -> bool:
    """Say whether a directory is on a file system that others may write to from elsewhere.

    Args:
        directory: an absolute path.
        mounts: the text of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)); read when None.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return True  # no Linux: better slow than blind
    longest, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        inside = directory == point or directory.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(longest):
            longest, kind = point, after.split(" ")[0]
    return kind in _REMOTE or kind.startswith("fuse")
