"""Who owns what is published: readers are other users, on other machines."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A user and a group, by number."""

    uid: int
    gid: int

    @classmethod
    def parse(cls, text: str) -> Owner:
        """Read ``uid:gid``; raises ValueError."""
        uid, _, gid = text.partition(":")
        if not (uid.isdecimal() and gid.isdecimal()):
            raise ValueError("must look like 50000:0, numbers of a user and a group")
        return cls(uid=int(uid), gid=int(gid))

    def is_what_new_files_get(self) -> bool:
        """Return whether this process's own files belong to this owner anyway."""
        return (os.geteuid(), os.getegid()) == (self.uid, self.gid)

    def take(self, path: str | os.PathLike[str]) -> None:
        """Hand a file or a directory over, through no symlink. A round trip on NFS. Idempotent.

        Raises:
            PermissionError: this process is not root, or an EFS access point gives its own owner.
            OSError: the file system refused.
        """
        os.chown(path, self.uid, self.gid, follow_symlinks=False)
