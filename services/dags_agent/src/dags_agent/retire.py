"""What becomes of releases that nobody needs, and of what killed runs left: out of sight, then away."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

from dags_agent.layout import Layout
from dags_agent.leases import read_leases
from dags_agent.removal import is_real_directory, remove, remove_tree
from dags_agent.steps import Leftover, Place
from dags_agent.threads import in_thread
from sidecar.clock import Clock


class Retirement:
    """Takes out of the way what a plan says, and empties the trash. One per pass.

    Attributes:
        retired: how many old releases were moved out of the way.
        leftovers_removed: how many leftovers of killed runs were.
        not_removed: what the file system refused to remove, and why: garbage, which a later pass tries again.
    """

    def __init__(self, layout: Layout, *, threads: Executor, clock: Clock) -> None:
        self._layout = layout
        self._threads = threads
        self._clock = clock
        self._mine: set[str] = set()
        self.retired = 0
        self.leftovers_removed = 0
        self.not_removed: dict[Path, OSError] = {}

    def retire(self, release_id: str) -> bool:
        """Move a release into the trash, by one rename; return whether it was. Idempotent.

        A reader that placed its lease after the plan was made gets its release back (docs/adr/0020).
        """
        if self._layout.live() == release_id or self._is_leased(release_id):
            return False
        trash, is_retired = self._trash(release_id), False
        with self.garbage(self._layout.release(release_id)):
            with contextlib.suppress(FileNotFoundError):
                self._layout.release(release_id).rename(trash)
            if self._is_leased(release_id):
                trash.rename(self._layout.release(release_id))
            else:
                self._layout.manifest(release_id).unlink(missing_ok=True)
                is_retired = True
        return is_retired

    def discard(self, leftover: Leftover) -> None:
        """Move a tree into the trash, or remove a file. Idempotent."""
        places: Mapping[Place, Path] = {
            Place.BUILDING: self._layout.building,
            Place.AHEAD: self._layout.ahead,
            Place.TRASH: self._layout.trash,
            Place.RELEASES: self._layout.releases,
            Place.OWN: self._layout.own,
        }
        path = places[leftover.place] / leftover.name
        with self.garbage(path):
            if leftover.place in (Place.BUILDING, Place.AHEAD):
                with contextlib.suppress(FileNotFoundError):
                    path.rename(self._trash(leftover.name))
            else:
                remove(path)
            self.leftovers_removed += 1

    def abandon(self, tree: Path) -> None:
        """Move a tree that was being built into the trash. Idempotent."""
        with self.garbage(tree), contextlib.suppress(FileNotFoundError):
            tree.rename(self._trash(tree.name))

    async def sweep(self, is_enough: Callable[[], bool]) -> bool:
        """Empty the trash; return whether all of it was tried before ``is_enough`` said so."""
        for name in await in_thread(self._threads, self._names):
            path = self._layout.trash / name
            with self.garbage(path):
                if not await remove_tree(self._threads, path, is_enough=is_enough):
                    return False
                self.leftovers_removed += name not in self._mine
        return True

    def _names(self) -> list[str]:
        trash = self._layout.trash
        return sorted(path.name for path in trash.iterdir()) if is_real_directory(trash) else []

    def _trash(self, name: str) -> Path:
        path = self._layout.trash / f"{name}-{secrets.token_hex(4)}"
        self._mine.add(path.name)
        return path

    def _is_leased(self, release_id: str) -> bool:
        return bool(read_leases(self._layout, release_id, now=self._clock.now()))

    @contextlib.contextmanager
    def garbage(self, path: Path) -> Iterator[None]:
        """Note what cannot be done, and go on: garbage never stands between S3 and the readers.

        A reader of another user with a writable mount leaves byte code that this process may not delete.
        """
        try:
            yield
        except OSError as err:
            self.not_removed[path] = err
