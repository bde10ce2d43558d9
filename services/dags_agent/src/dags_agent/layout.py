"""Where everything lies in the target, and the two pointers that people may move.

::

    <target>/current                  -> releases/<id>      what readers open; relative, for any mount point
    <target>/releases/<id>/           one whole release
    <target>/releases/<id>.json       its manifest
    <target>/.dags-agent/             the agent's own: state.json, hold.json, building/, ahead/, trash/,
                                      writer/, and leases/, which readers write

Releases lie outside the DAG root: Airflow's walk fails when two paths lead to one directory. ``building``
and ``trash`` are on the same file system, so a release comes and goes by one rename.
"""

from __future__ import annotations

import errno
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from dags_agent.manifest import is_release_id
from sidecar.errors import ConfigError
from sidecar.files import fsync_directory

LINK_PREFIX = "link-"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one target."""

    target: Path

    @property
    def current(self) -> Path:
        """The symlink that readers open."""
        return self.target / "current"

    @property
    def releases(self) -> Path:
        """The directory of whole releases."""
        return self.target / "releases"

    @property
    def own(self) -> Path:
        """The agent's own directory."""
        return self.target / ".dags-agent"

    @property
    def building(self) -> Path:
        """Where releases are built."""
        return self.own / "building"

    @property
    def ahead(self) -> Path:
        """Where the links for the next release are made, in a tree named after the live one."""
        return self.own / "ahead"

    @property
    def trash(self) -> Path:
        """Where retired releases wait to be deleted."""
        return self.own / "trash"

    @property
    def leases(self) -> Path:
        """Where readers say which releases they need (docs/adr/0020)."""
        return self.own / "leases"

    @property
    def writer(self) -> Path:
        """The lease of who publishes, a file per generation (docs/adr/0021)."""
        return self.own / "writer"

    def release(self, release_id: str) -> Path:
        """The tree of one release."""
        return self.releases / release_id

    def manifest(self, release_id: str) -> Path:
        """The manifest of one release."""
        return self.releases / f"{release_id}.json"

    def prepare(self, *, with_releases: bool = True) -> None:
        """Make the directories. Idempotent; writes nothing when they are there.

        Raises:
            ConfigError: the target is not there, or one of our directories is a symlink.
            OSError: it cannot be written.
        """
        try:
            self.target.mkdir(exist_ok=True)
            trees = (self.releases, self.ahead) if with_releases else ()
            for directory in (self.own, *trees, self.building, self.trash, self.leases, self.writer):
                directory.mkdir(exist_ok=True)
                self._refuse_planted(directory)
        except (FileNotFoundError, NotADirectoryError, FileExistsError) as err:
            raise ConfigError(
                f"Cannot prepare DAGS_AGENT_TARGET {str(self.target)!r}",
                why=err.strerror or str(err),
                remedy="Check that the volume is mounted there, writable for this container's user",
            ) from err

    def _refuse_planted(self, directory: Path) -> None:
        """What lies in our own directories is ours to delete: one that a link leads to is somebody else's."""
        if not stat.S_ISDIR(directory.lstat().st_mode):
            raise ConfigError(
                f"{str(directory)!r} is no directory of this agent",
                why="a symlink is in its place, and what it leads to would be swept",
                remedy="Remove the link, and find out who may write there; nothing was published or deleted",
            )

    def live(self) -> str | None:
        """Return the release that ``current`` names; None when there is no ``current``.

        Raises:
            ConfigError: ``current`` is something else, which is not ours to remove.
            OSError: the file system did not answer.
        """
        try:
            pointer = str(self.current.readlink())
        except FileNotFoundError:
            return None
        except OSError as err:
            if err.errno != errno.EINVAL:
                raise
            raise self._not_ours("it is no symlink") from err
        release_id = pointer.removeprefix(f"{self.releases.name}/")
        if pointer != f"{self.releases.name}/{release_id}" or not is_release_id(release_id):
            raise self._not_ours(f"it points to {pointer!r}")
        return release_id

    def point_current_at(self, release_id: str) -> None:
        """Move ``current`` in one step; durable on return. Repeatable.

        The temporary link has a name of its own each time: git-sync's fixed name wedges it for ever
        when it is killed between the two calls.
        """
        temporary = self.own / f"{LINK_PREFIX}{secrets.token_hex(6)}"
        temporary.symlink_to(f"{self.releases.name}/{release_id}")
        temporary.replace(self.current)
        fsync_directory(self.target)

    def _not_ours(self, why: str) -> ConfigError:
        return ConfigError(
            f"{str(self.current)!r} is not a pointer of this agent",
            why=why,
            remedy="Move it away, or give the agent a target of its own",
        )
