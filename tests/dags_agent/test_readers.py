"""A reader sees one whole release, whatever moment it comes at."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dags_agent.note import NAME as NOTE

from .fakes import FakeSource, an_agent

FILES = 12  # and the note
PUBLISHES = 40


class Watcher(threading.Thread):
    """Opens ``current`` once per look, as a reader that wants one release does, and reads all of it."""

    def __init__(self, current: Path) -> None:
        super().__init__(daemon=True)
        self.current = current
        self.done = threading.Event()
        self.seen: list[set[bytes]] = []
        self.counts: set[int] = set()
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            while not self.done.is_set():
                self._look()
        except OSError as err:
            self.error = err

    def _look(self) -> None:
        root = os.open(self.current, os.O_RDONLY | os.O_DIRECTORY)
        try:
            contents = []
            for _, _, names, directory in os.fwalk(dir_fd=root):
                for name in set(names) - {NOTE}:
                    descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
                    contents.append(os.read(descriptor, 100))
                    os.close(descriptor)
        finally:
            os.close(root)
        self.seen.append(set(contents))
        self.counts.add(len(contents))


async def test_a_watcher_never_sees_two_versions_at_once_nor_a_missing_file(tmp_path: Path) -> None:
    source = FakeSource()

    def publish(version: int) -> None:
        source.set({f"{number % 3}/{number}.py": b"%d" % version for number in range(FILES)})

    publish(0)
    with an_agent(tmp_path / "efs", source, keep_releases=3, keep_hours=1) as agent:
        await agent.cycle.sync()
        watcher = Watcher(tmp_path / "efs/current")
        watcher.start()
        for version in range(1, PUBLISHES):
            publish(version)
            await agent.cycle.sync()
        watcher.done.set()
        watcher.join(10)

    assert watcher.error is None
    assert watcher.counts == {FILES}
    assert all(len(versions) == 1 for versions in watcher.seen)
    order = [int(*versions) for versions in watcher.seen]
    assert order == sorted(order)
    assert len(set(order)) > 5, "the watcher must have met several releases to prove anything"
